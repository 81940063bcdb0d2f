"""Endpoints of paths, as storage/endpoints.py defines them."""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

cdef enum:
    UUID_SIZE = 36
    LEAST_HEX = 8
    LEAST_BASE64 = 16
    MOST_PADDING = 2
    DIGITS_OF_ID = 4


cdef inline uint8_t* put_endpoint(uint8_t* out, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Write the endpoint of a path and return where it ends."""
    cdef const uint8_t* begin
    while True:
        begin = at
        while at < end and at[0] != c"/":
            at += 1
        if is_id(begin, at - begin):
            memcpy(out, b"{id}", 4)
            out += 4
        else:
            memcpy(out, begin, at - begin)
            out += at - begin
        if at == end:
            return out
        out[0] = c"/"
        out += 1
        at += 1


cdef inline bint is_hex(uint8_t byte) noexcept nogil:
    return c"0" <= byte <= c"9" or c"a" <= byte | 0x20 <= c"f"


cdef inline bint is_id(const uint8_t* at, Py_ssize_t size) noexcept nogil:
    """Tell whether a segment of a path is an id."""
    cdef Py_ssize_t index, digits = 0, lower = 0, upper = 0, hex_letters = 0, padding = 0
    cdef uint8_t byte
    if size == 0:
        return False
    for index in range(size):
        byte = at[index]
        if c"0" <= byte <= c"9":
            digits += 1
        elif c"a" <= byte <= c"z":
            lower += 1
            hex_letters += byte <= c"f"
        elif c"A" <= byte <= c"Z":
            upper += 1
            hex_letters += byte <= c"F"
        elif byte == c"=":
            if size - index > MOST_PADDING:
                return False
            padding = size - index
            break
        elif byte != c"_" and byte != c"-":
            return size == 4 and memcmp(at, b"{id}", 4) == 0
    if padding == MOST_PADDING and at[size - 1] != c"=":
        return False
    if digits == size:
        return True
    if digits > 0 and size >= LEAST_HEX and digits + hex_letters == size:
        return True
    if size - padding >= LEAST_BASE64 and (digits >= DIGITS_OF_ID or (digits > 0 and lower > 0 and upper > 0)):
        return True
    return size == UUID_SIZE and digits + hex_letters == size - 4 and is_uuid(at)


cdef inline bint is_uuid(const uint8_t* at) noexcept nogil:
    """Tell whether 36 bytes are hexadecimal digits and hyphens where a UUID has them."""
    cdef Py_ssize_t index
    for index in range(UUID_SIZE):
        if index == 8 or index == 13 or index == 18 or index == 23:
            if at[index] != c"-":
                return False
        elif not is_hex(at[index]):
            return False
    return True
