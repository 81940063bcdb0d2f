"""Bytes: a cursor that never passes its end, texts in UTF-8, and integers as Postgres takes them, big-endian."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from * nogil:
    """
    #include <stdint.h>
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define BIG_16(value) __builtin_bswap16(value)
    #define BIG_32(value) __builtin_bswap32(value)
    #define BIG_64(value) __builtin_bswap64(value)
    #define FIRST_MARKED(marks) (__builtin_ctzll(marks) >> 3)
    #else
    #define BIG_16(value) (value)
    #define BIG_32(value) (value)
    #define BIG_64(value) (value)
    #define FIRST_MARKED(marks) 0 /* a slower but right answer: each byte is looked at */
    #endif
    #define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))
    #define HIGH_BITS EACH_BYTE(0x80)
    /* Marks the bytes below `limit`, at most 0x80; a byte above a marked one may be marked wrongly. */
    #define MARK_BELOW(word, limit) (((word) - EACH_BYTE(limit)) & ~(word) & HIGH_BITS)
    #define MARK_EQUAL(word, byte) MARK_BELOW((word) ^ EACH_BYTE(byte), 1)
    """
    uint16_t BIG_16(uint16_t value)
    uint32_t BIG_32(uint32_t value)
    uint64_t BIG_64(uint64_t value)
    int FIRST_MARKED(uint64_t marks)
    uint64_t HIGH_BITS
    uint64_t MARK_BELOW(uint64_t word, uint8_t limit)
    uint64_t MARK_EQUAL(uint64_t word, uint8_t byte)


cdef enum:
    UUID_BYTES = 16
    UUID_DIGITS = 32
    UUID_CHARACTERS = 36  # with dashes


cdef struct Cursor:
    # The bytes that are still to be read: `at` up to, not including, `end`.
    const uint8_t* at
    const uint8_t* end


cdef struct Text:
    const uint8_t* at
    Py_ssize_t size


cdef inline bint is_utf8(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Tell whether bytes are UTF-8 as Python decodes it: nothing overlong, no surrogates, at most U+10FFFF."""
    cdef uint8_t lead, lowest, highest
    cdef int more
    while at < end:
        lead = at[0]
        at += 1
        if lead < 0x80:
            continue
        lowest, highest = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                lowest = 0xA0
            elif lead == 0xED:
                highest = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                lowest = 0x90
            elif lead == 0xF4:
                highest = 0x8F
        else:
            return False
        if end - at < more or not lowest <= at[0] <= highest:
            return False
        at += 1
        more -= 1
        while more > 0:
            if at[0] & 0xC0 != 0x80:
                return False
            at += 1
            more -= 1
    return True


cdef inline bint is_text(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Tell whether bytes are UTF-8 without NUL."""
    cdef const uint8_t* start = at
    cdef uint64_t word
    cdef uint8_t all_bits = 0
    while end - at >= 8:
        memcpy(&word, at, 8)
        if MARK_EQUAL(word, 0):
            return False
        if word & HIGH_BITS:
            all_bits = 0x80
        at += 8
    while at < end:
        if at[0] == 0:
            return False
        all_bits |= at[0]
        at += 1
    return not all_bits & 0x80 or is_utf8(start, end)


cdef inline Py_ssize_t count_characters(Text text) noexcept nogil:
    """Return the number of characters of UTF-8."""
    cdef Py_ssize_t count = 0, index
    for index in range(text.size):
        count += text.at[index] & 0xC0 != 0x80
    return count


cdef inline uint8_t* put_16(uint8_t* out, uint16_t value) noexcept nogil:
    value = BIG_16(value)
    memcpy(out, &value, 2)
    return out + 2


cdef inline uint8_t* put_32(uint8_t* out, uint32_t value) noexcept nogil:
    value = BIG_32(value)
    memcpy(out, &value, 4)
    return out + 4


cdef inline uint8_t* put_64(uint8_t* out, uint64_t value) noexcept nogil:
    value = BIG_64(value)
    memcpy(out, &value, 8)
    return out + 8


cdef inline uint8_t* put_bytes(uint8_t* out, const uint8_t* data, Py_ssize_t size) noexcept nogil:
    memcpy(out, data, size)
    return out + size


cdef inline uint8_t* put_utf8(uint8_t* out, uint32_t code) noexcept nogil:
    """Write a character: one byte below U+0080, two below U+0800, three below U+10000, else four (RFC 3629, 3)."""
    if code < 0x80:
        out[0] = <uint8_t>code
        return out + 1
    if code < 0x800:
        out[0] = <uint8_t>(0xC0 | code >> 6)
        out[1] = <uint8_t>(0x80 | code & 0x3F)
        return out + 2
    if code < 0x10000:
        out[0] = <uint8_t>(0xE0 | code >> 12)
        out[1] = <uint8_t>(0x80 | code >> 6 & 0x3F)
        out[2] = <uint8_t>(0x80 | code & 0x3F)
        return out + 3
    out[0] = <uint8_t>(0xF0 | code >> 18)
    out[1] = <uint8_t>(0x80 | code >> 12 & 0x3F)
    out[2] = <uint8_t>(0x80 | code >> 6 & 0x3F)
    out[3] = <uint8_t>(0x80 | code & 0x3F)
    return out + 4


cdef inline bint is_dash_position(int index) noexcept nogil:
    """Tell whether a UUID has a dash there (RFC 9562, 4)."""
    return index == 8 or index == 13 or index == 18 or index == 23
