"""Changes of bytes that know nothing of what the bytes mean."""

from collections.abc import Sequence
from random import Random

MOST_CHANGES = 4


def mutate(source: Random, data: bytes, dictionary: Sequence[bytes]) -> bytes:
    """Return `data` with a few changes; tokens of `dictionary` are among what is put in."""
    for _ in range(source.randint(1, MOST_CHANGES)):
        data = _change(source, data, dictionary)
    return data


def _change(source: Random, data: bytes, dictionary: Sequence[bytes]) -> bytes:
    start = source.randint(0, len(data))
    end = min(len(data), start + 2 ** source.randint(0, 6))
    match source.randrange(8):
        case 0 if start < len(data):
            return data[:start] + bytes([data[start] ^ 1 << source.randrange(8)]) + data[start + 1 :]
        case 1 if start < len(data):
            return data[:start] + bytes([source.randrange(256)]) + data[start + 1 :]
        case 2:
            return data[:start] + data[end:]
        case 3:
            return data[:end] + data[start:]
        case 4:
            elsewhere = source.randint(0, len(data))
            return data[:elsewhere] + data[start:end] + data[elsewhere:]
        case 5:
            return data[:start] if source.random() < 0.3 else data[:start] + source.randbytes(end - start) + data[end:]
        case _:
            return data[:start] + source.choice(dictionary) + data[start if source.random() < 0.5 else end :]
