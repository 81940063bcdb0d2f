"""Sums over rows, from the bytes of binary COPY. storage/rollups/aggregation.py is the reference, and has the columns."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.math cimport ceil, log
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from server.compiled.bytes cimport BIG_16, BIG_32, BIG_64

cdef enum:
    # Where the values of a row begin: each has its length before it.
    PROJECT = 6
    TIMESTAMP = 14
    IS_INBOUND = 26
    STATUS_CODE = 31
    DURATION = 37
    REQUEST = 49
    RESPONSE = 61
    TEXTS = 69
    TEXT_COUNT = 3
    KEY_HEAD = 22  # project, minute, direction, status class, and the lengths of method and host
    SMALL = 4096  # durations below have their bucket in a table
    ROOM = 16  # for buckets beside one that is new
    UUID_SIZE = 36
    LEAST_HEX = 8
    LEAST_BASE64 = 16
    MOST_PADDING = 2
    DIGITS_OF_ID = 4


cdef struct Wide:
    # A sum of more than 64 bits.
    uint64_t low
    uint64_t high


cdef inline void add_to(Wide* wide, uint64_t value) noexcept nogil:
    wide.low += value
    wide.high += wide.low < value


cdef class _Sums:
    cdef uint64_t requests, slow
    cdef Wide duration_ms, request_bytes, response_bytes
    cdef uint64_t* counts  # of the buckets from `lowest` on, `size` of them
    cdef int32_t lowest, size

    def __cinit__(self):
        self.counts = NULL
        self.lowest = self.size = 0

    def __dealloc__(self):
        PyMem_Free(self.counts)

    cdef int count(self, int32_t bucket) except -1:
        if not self.lowest <= bucket < self.lowest + self.size:
            self.widen(bucket)
        self.counts[bucket - self.lowest] += 1
        return 0

    cdef int widen(self, int32_t bucket) except -1:
        """Make room for the count of a bucket, and of some beside it."""
        cdef int32_t lowest = max(0, bucket - ROOM), end = bucket + ROOM
        cdef uint64_t* counts
        if self.size > 0:
            lowest, end = min(lowest, self.lowest), max(end, self.lowest + self.size)
        counts = <uint64_t*>PyMem_Calloc(end - lowest, sizeof(uint64_t))
        if counts == NULL:
            raise MemoryError
        if self.size > 0:
            memcpy(counts + (self.lowest - lowest), self.counts, self.size * sizeof(uint64_t))
        PyMem_Free(self.counts)
        self.counts, self.lowest, self.size = counts, lowest, end - lowest
        return 0

    cdef dict buckets(self):
        cdef int32_t index
        return {self.lowest + index: self.counts[index] for index in range(self.size) if self.counts[index] > 0}


cdef class RowAggregator:
    """Sums up rows. See the stub file for the interface."""

    cdef dict _groups
    cdef uint8_t* _key
    cdef Py_ssize_t _key_size
    cdef int64_t _minute_us, _slow_ms
    cdef double _ln_gamma
    cdef int32_t _small[SMALL]
    cdef object _make_group, _make_sums

    def __cinit__(self, *, minute_us, slow_ms, ln_gamma, make_group, make_sums):
        cdef int index
        self._groups = {}
        self._key, self._key_size = NULL, 0
        self._minute_us, self._slow_ms, self._ln_gamma = minute_us, slow_ms, ln_gamma
        self._make_group, self._make_sums = make_group, make_sums
        self._small[0] = 0
        for index in range(1, SMALL):
            self._small[index] = 1 + <int32_t>ceil(log(<double>index) / self._ln_gamma)

    def __dealloc__(self):
        PyMem_Free(self._key)

    def add(self, row):
        cdef Py_buffer view
        PyObject_GetBuffer(row, &view, PyBUF_SIMPLE)
        try:
            self._add(<const uint8_t*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int _add(self, const uint8_t* row, Py_ssize_t size) except -1:
        cdef int64_t microseconds, duration_ms
        cdef int32_t bucket
        cdef bytes key
        cdef _Sums sums
        cdef PyObject* found
        if size < TEXTS:
            raise ValueError("a row is cut off")
        microseconds, duration_ms = get_64(row + TIMESTAMP), get_64(row + DURATION)
        key = self._key_of(row, size, microseconds)
        found = PyDict_GetItem(self._groups, key)
        if found == NULL:
            sums = _Sums()
            self._groups[key] = sums
        else:
            sums = <_Sums>found
        sums.requests += 1
        sums.slow += duration_ms > self._slow_ms
        add_to(&sums.duration_ms, duration_ms)
        add_to(&sums.request_bytes, get_64(row + REQUEST))
        add_to(&sums.response_bytes, get_64(row + RESPONSE))
        if 0 <= duration_ms < SMALL:
            bucket = self._small[duration_ms]
        else:
            bucket = 1 + <int32_t>ceil(log(<double>duration_ms) / self._ln_gamma)
        return sums.count(bucket)

    cdef bytes _key_of(self, const uint8_t* row, Py_ssize_t size, int64_t microseconds):
        """Return what tells the group of a row from all others."""
        cdef const uint8_t* at = row + TEXTS
        cdef const uint8_t* end = row + size
        cdef const uint8_t* texts[TEXT_COUNT]
        cdef uint32_t sizes[TEXT_COUNT]
        cdef int index
        cdef uint8_t* out
        cdef int64_t minute = microseconds // self._minute_us
        if microseconds % self._minute_us < 0:  # C rounds towards zero
            minute -= 1
        for index in range(TEXT_COUNT):
            if end - at < 4:
                raise ValueError("a row is cut off")
            sizes[index] = get_32(at)
            at += 4
            if <uint64_t>(end - at) < sizes[index]:
                raise ValueError("a row is cut off")
            texts[index] = at
            at += sizes[index]
        # An id of one character becomes one of four.
        self._reserve(KEY_HEAD + sizes[0] + sizes[1] + 4 * sizes[2] + 4)
        out = self._key
        memcpy(out, row + PROJECT, 4)
        memcpy(out + 4, &minute, 8)
        out[12] = row[IS_INBOUND]
        out[13] = get_16(row + STATUS_CODE) // 100
        memcpy(out + 14, &sizes[0], 4)
        memcpy(out + 18, &sizes[1], 4)
        out += KEY_HEAD
        for index in range(2):
            memcpy(out, texts[index], sizes[index])
            out += sizes[index]
        out = put_endpoint(out, texts[2], texts[2] + sizes[2])
        return PyBytes_FromStringAndSize(<char*>self._key, out - self._key)

    cdef int _reserve(self, Py_ssize_t size) except -1:
        if size > self._key_size:
            PyMem_Free(self._key)
            self._key_size = 0
            self._key = <uint8_t*>PyMem_Malloc(2 * size)
            if self._key == NULL:
                raise MemoryError
            self._key_size = 2 * size
        return 0

    def groups(self):
        cdef _Sums sums
        cdef const uint8_t* at
        cdef bytes key
        cdef int64_t minute
        cdef uint32_t method_size, host_size
        groups = {}
        for key, sums in self._groups.items():
            at = key
            memcpy(&minute, at + 4, 8)
            memcpy(&method_size, at + 14, 4)
            memcpy(&host_size, at + 18, 4)
            group = self._make_group(
                <int32_t>get_32(at), minute * self._minute_us, at[12] != 0, at[13],
                key[KEY_HEAD : KEY_HEAD + method_size].decode(),
                key[KEY_HEAD + method_size : KEY_HEAD + method_size + host_size].decode(),
                key[KEY_HEAD + method_size + host_size :].decode(),
            )
            groups[group] = self._make_sums(
                sums.requests, sums.slow, to_int(sums.duration_ms), to_int(sums.request_bytes),
                to_int(sums.response_bytes), sums.buckets(),
            )
        return groups


cdef object to_int(Wide wide):
    return (<object>wide.high << 64) | <object>wide.low if wide.high else <object>wide.low


cdef inline uint16_t get_16(const uint8_t* at) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return BIG_16(value)


cdef inline uint32_t get_32(const uint8_t* at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return BIG_32(value)


cdef inline int64_t get_64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return <int64_t>BIG_64(value)


cdef uint8_t* put_endpoint(uint8_t* out, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Write the endpoint of a path, as storage/endpoints.py defines it, and return where it ends."""
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


cdef bint is_id(const uint8_t* at, Py_ssize_t size) noexcept nogil:
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


cdef bint is_uuid(const uint8_t* at) noexcept nogil:
    """Tell whether 36 bytes are hexadecimal digits and hyphens where a UUID has them."""
    cdef Py_ssize_t index
    for index in range(UUID_SIZE):
        if index == 8 or index == 13 or index == 18 or index == 23:
            if at[index] != c"-":
                return False
        elif not is_hex(at[index]):
            return False
    return True
