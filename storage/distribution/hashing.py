"""The hash by which Citus spreads rows: Postgres' own of a 4-byte integer (`hashint4`, Bob Jenkins' lookup3)."""

_MASK = 2**32 - 1
# The state that `hash_bytes_uint32` begins with: the golden ratio, the key's length, and a constant of Postgres.
_BEGIN = (0x9E3779B9 + 4 + 3923095) & _MASK
_ROTATIONS = (14, 11, 25, 16, 4, 14, 24)


def hash_of(number: int) -> int:
    """Return the hash of a number, from -2^31 to 2^31 - 1."""
    a, b, c = (_BEGIN + number) & _MASK, _BEGIN, _BEGIN
    # lookup3's final mix: each step takes the next of the three in turn.
    for bits in _ROTATIONS:
        c = ((c ^ b) - _rotated(b, bits)) & _MASK
        a, b, c = b, c, a
    result = b
    return result - 2**32 if result >= 2**31 else result


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK
