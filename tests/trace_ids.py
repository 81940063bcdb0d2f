"""Trace ids as they may be sent."""

from uuid import UUID


def spellings(digits: str) -> list[str]:
    """Return 32 lower-case hex digits as a row has them in 16 bytes, plain and dashed, and in forms much like these."""
    dashed = str(UUID(digits))
    return [
        digits,
        dashed,
        digits.upper(),
        dashed.upper(),
        digits[:-1] + "g",
        digits[:-1],
        digits + "0",
        digits + "\n",
        digits + "0000",
        dashed[:-1] + "-",
        dashed.replace("-", "0"),
        dashed[1:] + dashed[0],
        f"{{{dashed}}}",
        "-" + digits[1:],
    ]
