"""RFC 3339 date-times in their common form: upper case, no leap seconds."""

from libc.stdint cimport int64_t, uint8_t

from server.compiled.bytes cimport Text

cdef enum:
    DATE_AND_TIME = 19  # bytes of 2026-03-31T12:00:00
    OFFSET = 6  # bytes of +02:00
    MICROSECOND_DIGITS = 6


cdef inline int _two_digits(const uint8_t* at) noexcept nogil:
    """Return the number that two digits are, and much less than -100 when they are none."""
    if not (c"0" <= at[0] <= c"9" and c"0" <= at[1] <= c"9"):
        return -100_000
    return (at[0] - c"0") * 10 + at[1] - c"0"


cdef inline int _days_of_month(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef inline int64_t _days_since_1970(int year, int month, int day) noexcept nogil:
    # Years that begin in March end with their leap day; 719,468 days lie between 0000-03-01 and 1970-01-01.
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - 719_468


cdef inline bint parse_instant(Text text, int64_t* microseconds) noexcept nogil:
    """Set the microseconds since 1970-01-01 UTC, further digits cut off; False when the form is another."""
    cdef const uint8_t* at = text.at
    cdef const uint8_t* end = text.at + text.size
    cdef int year, month, day, hour, minute, second, offset = 0, digits = 0
    cdef int hour_of_offset, minute_of_offset
    cdef int64_t fraction = 0
    if text.size <= DATE_AND_TIME or not (
        at[4] == c"-" and at[7] == c"-" and at[10] == c"T" and at[13] == c":" and at[16] == c":"
    ):
        return False
    year = _two_digits(at) * 100 + _two_digits(at + 2)
    month, day = _two_digits(at + 5), _two_digits(at + 8)
    hour, minute, second = _two_digits(at + 11), _two_digits(at + 14), _two_digits(at + 17)
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= _days_of_month(year, month)):
        return False
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return False
    at += DATE_AND_TIME
    if at[0] == c".":
        at += 1
        while at < end and c"0" <= at[0] <= c"9":
            if digits < MICROSECOND_DIGITS:
                fraction = fraction * 10 + at[0] - c"0"
            digits += 1
            at += 1
        if digits == 0:
            return False
        while digits < MICROSECOND_DIGITS:
            fraction *= 10
            digits += 1
    if end - at == 1 and at[0] == c"Z":
        pass
    elif end - at == OFFSET and (at[0] == c"+" or at[0] == c"-") and at[3] == c":":
        hour_of_offset, minute_of_offset = _two_digits(at + 1), _two_digits(at + 4)
        if not (0 <= hour_of_offset <= 23 and 0 <= minute_of_offset <= 59):
            return False
        offset = hour_of_offset * 60 + minute_of_offset
        if at[0] == c"-":
            offset = -offset
    else:
        return False
    microseconds[0] = (
        (_days_since_1970(year, month, day) * 1440 + hour * 60 + minute - offset) * 60 + second
    ) * <int64_t>1_000_000 + fraction
    return True
