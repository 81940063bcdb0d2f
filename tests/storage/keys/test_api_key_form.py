"""What a raw key looks like, and what passes for one."""

import re
import string

import pytest

from storage.keys.api_keys import ALPHABET, SCHEME, generate_raw_key, is_well_formed

FORM = re.compile(r"seestack_live_[0-9A-Za-z]{30}")


def other_character(character: str) -> str:
    return "b" if character == "a" else "a"


def test_a_key_has_the_documented_form() -> None:
    assert SCHEME == "seestack_live_"
    assert set(ALPHABET) == set(string.ascii_letters + string.digits)
    for _ in range(100):
        assert FORM.fullmatch(generate_raw_key())


def test_thousands_of_keys_are_all_different_and_well_formed() -> None:
    keys = [generate_raw_key() for _ in range(5_000)]
    assert len(set(keys)) == len(keys)
    assert all(map(is_well_formed, keys))


def test_the_random_part_uses_the_whole_alphabet() -> None:
    drawn = "".join(generate_raw_key()[len(SCHEME) : len(SCHEME) + 24] for _ in range(500))
    assert set(drawn) == set(ALPHABET)


def test_every_change_of_one_character_is_noticed() -> None:
    for _ in range(50):
        key = generate_raw_key()
        for position, character in enumerate(key):
            changed = key[:position] + other_character(character) + key[position + 1 :]
            assert not is_well_formed(changed), (key, changed)


def test_two_neighbours_exchanged_are_noticed() -> None:
    for _ in range(50):
        key = generate_raw_key()
        for position in range(len(key) - 1):
            exchanged = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
            assert exchanged == key or not is_well_formed(exchanged)


@pytest.mark.parametrize("length", range(44))
def test_a_truncated_key_is_not_well_formed(length: int) -> None:
    assert not is_well_formed(generate_raw_key()[:length])


@pytest.mark.parametrize("extension", ["0", "a", " ", "\n", "\0", "seestack_live_"])
def test_an_extended_key_is_not_well_formed(extension: str) -> None:
    key = generate_raw_key()
    assert not is_well_formed(key + extension)
    assert not is_well_formed(extension + key)


@pytest.mark.parametrize("character", ["é", "日", "😀", "\udc80", "０"])
def test_a_key_with_a_character_outside_ascii_is_not_well_formed(character: str) -> None:
    key = generate_raw_key()
    for position in (0, 20, len(key) - 1):
        assert not is_well_formed(key[:position] + character + key[position + 1 :])


@pytest.mark.parametrize("text", ["", " ", "seestack_live_", "0" * 44, "Bearer", "seestack_test_" + "0" * 30])
def test_other_text_is_not_well_formed(text: str) -> None:
    assert not is_well_formed(text)


def test_case_matters() -> None:
    key = generate_raw_key()
    assert not is_well_formed(key.upper())
    assert not is_well_formed(key.swapcase())
