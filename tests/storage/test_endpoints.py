"""Which segments of a path are ids, to Python and to Postgres alike."""

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.endpoints import MAX_CACHED_LENGTH, endpoint_of, like_pattern_of, pattern_of

IDS = [
    "0", "00123", "20261126", "d2e3d83a-988a-4202-b0e5-a06580821d67", "D2E3D83A-988A-4202-B0E5-A06580821D67",
    "c0ffee42", "4bf92f3577b34da6a3ce929d0e0e4736", "cus_NffrFeUfNV2Hib", "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "dGhpcyBpcyBhIHRlc3Q0", "abcdefghijKLMNOP12==", "inv_20261126_0042", "{id}",
]  # fmt: skip
WORDS = [
    "", "orders", "v1", "v2.1", "12a", "deadbeef", "list-all-customers-by-region", "oauth2-authorization-code",
    "abcdefghijKLMNOP12===", "%20", "é", "a b", "1\n", "\n", ".*", "(a", "a|b", "a\\d", "%", "_", "-1", "{other}",
]  # fmt: skip

segments = st.sampled_from(IDS + WORDS) | st.text("0aAfF1-_={}/$^\\\n .%", max_size=20)
paths = st.lists(segments, min_size=1, max_size=5).map("/".join)


@pytest.fixture(scope="module")
def shared_connection(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("segment", IDS)
def test_an_id_becomes_a_placeholder_wherever_it_stands(segment: str) -> None:
    assert endpoint_of(f"/orders/{segment}") == "/orders/{id}"
    assert endpoint_of(f"/{segment}/items/{segment}/") == "/{id}/items/{id}/"
    assert endpoint_of(segment) == "{id}"


@pytest.mark.parametrize("segment", WORDS)
def test_a_word_stays(segment: str) -> None:
    assert endpoint_of(f"/{segment}/x") == f"/{segment}/x"


def test_a_long_path_has_an_endpoint_too() -> None:
    assert endpoint_of("/a" * MAX_CACHED_LENGTH + "/7") == "/a" * MAX_CACHED_LENGTH + "/{id}"


@settings(max_examples=300)
@given(path=paths, other=paths)
def test_postgres_finds_the_paths_of_an_endpoint_that_python_does(
    shared_connection: psycopg.Connection, path: str, other: str
) -> None:
    for endpoint in {endpoint_of(path), endpoint_of(other)}:
        assert endpoint_of(endpoint) == endpoint
        found = shared_connection.execute(
            "SELECT %(path)s::text LIKE %(like)s, %(path)s ~ %(pattern)s",
            {"path": path, "like": like_pattern_of(endpoint), "pattern": pattern_of(endpoint)},
        ).fetchone()
        is_of_endpoint = endpoint_of(path) == endpoint
        assert found is not None
        assert (found[0] and found[1]) == is_of_endpoint
        assert found[1] == is_of_endpoint
