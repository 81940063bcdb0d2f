from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef struct Wide:
    # A sum of more than 64 bits.
    uint64_t low
    uint64_t high


cdef struct Record:
    # The sums of a group; its buckets are a stretch of those of the pool.
    uint64_t requests, slow
    Wide duration_ms, request_bytes, response_bytes
    uint64_t first_bucket, end_bucket


cdef struct Entry:
    # A group of a row of a table, and the record that counts towards it.
    int64_t start, key
    uint64_t record
    int32_t project
    uint8_t span, level


cdef class GroupPool:
    cdef Record* records
    cdef Py_ssize_t size, room
    cdef uint16_t* buckets
    cdef uint64_t* counts
    cdef uint64_t bucket_size, bucket_room
    cdef Entry* entries
    cdef Py_ssize_t entry_size, entry_room

    cdef Record* new_record(self) except NULL
    cdef int add_bucket(self, uint16_t bucket, uint64_t count) except -1
    cdef int add_entry(self, Entry entry) except -1
    cdef int add_stored(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef list encoded(self)


cdef inline void add_to(Wide* wide, uint64_t value) noexcept nogil:
    wide.low += value
    wide.high += wide.low < value


cdef inline void add_wide(Wide* wide, const Wide* value) noexcept nogil:
    add_to(wide, value.low)
    wide.high += value.high
