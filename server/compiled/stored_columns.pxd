"""The stored form of groups, column by column; storage/rollups/stored_groups.py describes it."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from * nogil:
    """
    #include <stdint.h>
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define LITTLE_16(value) (value)
    #define LITTLE_32(value) (value)
    #define LITTLE_64(value) (value)
    #else
    #define LITTLE_16(value) __builtin_bswap16(value)
    #define LITTLE_32(value) __builtin_bswap32(value)
    #define LITTLE_64(value) __builtin_bswap64(value)
    #endif
    """
    uint16_t LITTLE_16(uint16_t value)
    uint32_t LITTLE_32(uint32_t value)
    uint64_t LITTLE_64(uint64_t value)


cdef enum:
    COUNT_SIZE = 4
    KIND_BITS = 5


cdef struct Column:
    const uint8_t* at
    uint8_t width


cdef struct Groups:
    uint32_t count
    Column steps, requests, slow, duration_ms, request_bytes, response_bytes, bucket_counts, buckets, counts


cdef inline uint64_t value_of(const Column* column, uint64_t index) noexcept nogil:
    cdef uint16_t two
    cdef uint32_t four
    cdef uint64_t eight
    if column.width == 0:
        return 0
    if column.width == 1:
        return column.at[index]
    if column.width == 2:
        memcpy(&two, column.at + 2 * index, 2)
        return LITTLE_16(two)
    if column.width == 4:
        memcpy(&four, column.at + 4 * index, 4)
        return LITTLE_32(four)
    memcpy(&eight, column.at + 8 * index, 8)
    return LITTLE_64(eight)


cdef inline const uint8_t* find_column(
    Column* column, const uint8_t* at, const uint8_t* end, uint64_t count
) noexcept nogil:
    """Fill in where a column of so many values is, and return where it ends; NULL when it is none."""
    if at == NULL or at == end:
        return NULL
    column.width, column.at = at[0], at + 1
    if column.width not in (0, 1, 2, 4, 8) or <uint64_t>(end - column.at) < count * column.width:
        return NULL
    return column.at + count * column.width


cdef inline int find_columns(Groups* groups, const uint8_t* data, Py_ssize_t size) except -1:
    """Fill in where the columns are. Raises ValueError for what is not the stored form of groups."""
    cdef const uint8_t* at = data
    cdef const uint8_t* end = data + size
    cdef uint64_t index, buckets = 0
    cdef uint32_t count
    memset(groups, 0, sizeof(Groups))
    if size < COUNT_SIZE:
        raise ValueError("stored groups are cut off")
    memcpy(&count, data, COUNT_SIZE)
    groups.count = LITTLE_32(count)
    at = find_column(&groups.steps, at + COUNT_SIZE, end, groups.count)
    at = find_column(&groups.requests, at, end, groups.count)
    at = find_column(&groups.slow, at, end, groups.count)
    at = find_column(&groups.duration_ms, at, end, groups.count)
    at = find_column(&groups.request_bytes, at, end, groups.count)
    at = find_column(&groups.response_bytes, at, end, groups.count)
    at = find_column(&groups.bucket_counts, at, end, groups.count)
    if at != NULL:
        for index in range(groups.count):
            buckets += value_of(&groups.bucket_counts, index)
            if buckets > <uint64_t>size:
                break
        at = find_column(&groups.buckets, at, end, buckets)
        at = find_column(&groups.counts, at, end, buckets)
    if at != end:
        raise ValueError("stored groups are cut off")
    return 0
