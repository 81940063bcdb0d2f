"""Sums over rows, from the bytes of binary COPY. storage/rollups/aggregation.py is the reference, and has the columns."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.math cimport ceil, log
from libc.stdint cimport INT64_MIN, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from server.compiled.bytes cimport BIG_16, BIG_32, BIG_64
from server.compiled.endpoints cimport put_endpoint
from server.compiled.group_pool cimport Entry, GroupPool, Record, Wide, add_to
from server.compiled.stored_columns cimport KIND_BITS

cdef enum:
    # Where the values of a row begin: each has its length before it.
    PROJECT = 6
    TIMESTAMP = 14
    IS_INBOUND = 26
    STATUS_CODE = 31
    FIGURES = 33  # where the length of the first one is
    FIGURE_COUNT = 3
    TEXT_COUNT = 3
    # What a column of a row that is written has; 0 for what sums do not need. Each figure has two, of which one is NULL.
    OF_PROJECT = 1
    OF_TIMESTAMP = 2
    OF_IS_INBOUND = 3
    OF_STATUS_CODE = 4
    OF_FIGURES = 5
    OF_TEXTS = OF_FIGURES + FIGURE_COUNT
    KEY_NAME = 9  # where the name begins, behind minute and kind: project, lengths of method and host, texts
    NAME_HEAD = 12
    KEY_HEAD = KEY_NAME + NAME_HEAD
    MOST_CLASS = 15
    SPANS = 3
    LEVELS = 3
    SMALL = 4096  # durations below have their bucket in a table
    ROOM = 16  # for buckets beside one that is new


cdef struct Row:
    # The project's number as it is in the row, and where the texts are.
    uint32_t project
    int64_t timestamp
    uint8_t is_inbound
    int16_t status_code
    int64_t figures[FIGURE_COUNT]  # duration in ms, bytes of request and response
    const uint8_t* texts[TEXT_COUNT]  # method, host, path
    uint32_t sizes[TEXT_COUNT]


cdef class _Sums:
    cdef uint64_t requests, slow
    cdef Wide duration_ms, request_bytes, response_bytes
    cdef uint64_t* counts  # of the buckets from `lowest` on, `size` of them
    cdef int32_t lowest, size
    cdef Py_ssize_t name  # its place among all names

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

    cdef int add_record(self, GroupPool pool) except -1:
        """Add the sums to a pool as a record."""
        cdef int32_t index
        cdef Record* record = pool.new_record()
        record.requests, record.slow = self.requests, self.slow
        record.duration_ms = self.duration_ms
        record.request_bytes, record.response_bytes = self.request_bytes, self.response_bytes
        for index in range(self.size):
            if self.counts[index] > 0:
                pool.add_bucket(<uint16_t>(self.lowest + index), self.counts[index])
        return 0


cdef class RowAggregator:
    """Sums up rows. See the stub file for the interface."""

    cdef dict _groups
    cdef uint8_t* _key
    cdef Py_ssize_t _key_size
    cdef int64_t _minute_us, _slow_ms
    cdef double _ln_gamma
    cdef int32_t _small[SMALL]
    cdef Py_ssize_t _end_size
    cdef bytes _roles
    cdef tuple _lengths_us
    cdef object _make_portion, _make_name, _make_stored

    def __cinit__(self, *, lengths_us, slow_ms, ln_gamma, end_size, roles, make_portion, make_name, make_stored):
        cdef int index
        self._groups = {}
        self._key, self._key_size = NULL, 0
        self._lengths_us = lengths_us
        self._minute_us, self._slow_ms, self._ln_gamma = lengths_us[0], slow_ms, ln_gamma
        self._end_size, self._roles = end_size, roles
        self._make_portion, self._make_name, self._make_stored = make_portion, make_name, make_stored
        self._small[0] = 0
        for index in range(1, SMALL):
            self._small[index] = 1 + <int32_t>ceil(log(<double>index) / self._ln_gamma)

    def __dealloc__(self):
        PyMem_Free(self._key)

    cpdef bint add(self, row) except? False:
        cdef Py_buffer view
        PyObject_GetBuffer(row, &view, PyBUF_SIMPLE)
        try:
            return self._add(<const uint8_t*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def add_all(self, get_message, Py_ssize_t most):
        cdef Py_ssize_t added = 0, refused = 0, size = 0
        cdef tuple message
        while added + refused < most:
            message = get_message(1)
            size = message[0]
            if size <= self._end_size:
                break
            if self.add(message[1]):
                added += 1
            else:
                refused += 1
        return self._make_portion(added, refused, size)

    def add_written(self, const uint8_t[::1] rows, Py_ssize_t begin, Py_ssize_t most):
        cdef Row row
        cdef Py_ssize_t added = 0
        cdef const uint8_t* at
        cdef const uint8_t* end
        if begin >= len(rows):
            return 0, begin
        at, end = &rows[0] + begin, &rows[0] + len(rows)
        while added < most and at < end:
            at = read_written(at, end, self._roles, &row)
            self._sum(&row)
            added += 1
        return added, at - &rows[0]

    cdef bint _add(self, const uint8_t* data, Py_ssize_t size) except? False:
        cdef Row row
        if not read_copied(data, size, &row):
            return False
        self._sum(&row)
        return True

    cdef int _sum(self, const Row* row) except -1:
        cdef int64_t duration_ms = row.figures[0]
        cdef int32_t bucket
        cdef bytes key = self._key_of(row)
        cdef _Sums sums
        cdef PyObject* found = PyDict_GetItem(self._groups, key)
        if found == NULL:
            sums = _Sums()
            self._groups[key] = sums
        else:
            sums = <_Sums>found
        sums.requests += 1
        sums.slow += duration_ms > self._slow_ms
        add_to(&sums.duration_ms, duration_ms)
        add_to(&sums.request_bytes, row.figures[1])
        add_to(&sums.response_bytes, row.figures[2])
        if duration_ms < SMALL:
            bucket = self._small[duration_ms]
        else:
            bucket = 1 + <int32_t>ceil(log(<double>duration_ms) / self._ln_gamma)
        return sums.count(bucket)

    cdef bytes _key_of(self, const Row* row):
        """Return what tells the group of a row from all others."""
        cdef int index
        cdef uint8_t* out
        cdef int64_t minute = floor_of(row.timestamp, self._minute_us)
        cdef int status_class = min(max(row.status_code // 100, 0), MOST_CLASS)
        # An id of one character becomes one of four.
        self._reserve(KEY_HEAD + row.sizes[0] + row.sizes[1] + 4 * row.sizes[2] + 4)
        out = self._key
        memcpy(out, &minute, 8)
        out[8] = <uint8_t>(row.is_inbound << 4 | status_class)
        memcpy(out + KEY_NAME, &row.project, 4)
        memcpy(out + KEY_NAME + 4, &row.sizes[0], 4)
        memcpy(out + KEY_NAME + 8, &row.sizes[1], 4)
        out += KEY_HEAD
        for index in range(2):
            memcpy(out, row.texts[index], row.sizes[index])
            out += row.sizes[index]
        out = put_endpoint(out, row.texts[2], row.texts[2] + row.sizes[2])
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

    def names(self):
        cdef dict places = {}
        cdef list rows = []
        cdef _Sums sums
        cdef bytes key, name
        cdef int64_t day
        cdef PyObject* found
        for key, sums in self._groups.items():
            day = self._day_of(key)
            name = PyBytes_FromStringAndSize(NULL, 8 + len(key) - KEY_NAME)
            memcpy(PyBytes_AS_STRING(name), &day, 8)
            memcpy(PyBytes_AS_STRING(name) + 8, PyBytes_AS_STRING(key) + KEY_NAME, len(key) - KEY_NAME)
            found = PyDict_GetItem(places, name)
            if found == NULL:
                sums.name = len(places)
                places[name] = sums.name
                rows.append(sums.requests)
            else:
                sums.name = <object>found
                rows[sums.name] += sums.requests
        return {self._name_of(name): count for name, count in zip(places, rows)}

    cdef int64_t _day_of(self, bytes key) except? -1:
        cdef int64_t minute
        memcpy(&minute, PyBytes_AS_STRING(key), 8)
        return floor_of(minute, <int64_t>self._lengths_us[SPANS - 1] // self._minute_us)

    cdef object _name_of(self, bytes name):
        cdef const uint8_t* at = name
        cdef int64_t day
        cdef uint32_t method_size, host_size
        memcpy(&day, at, 8)
        memcpy(&method_size, at + 12, 4)
        memcpy(&host_size, at + 16, 4)
        cdef bytes texts = name[8 + NAME_HEAD:]
        return self._make_name(
            <int32_t>get_32(at + 8), day, texts[:method_size].decode(),
            texts[method_size : method_size + host_size].decode(), texts[method_size + host_size :].decode(),
        )

    def stored(self, hosts, endpoints, times):
        cdef GroupPool pool = GroupPool()
        cdef _Sums sums
        cdef bytes key
        cdef const uint8_t* at
        cdef int64_t minute, numbers[LEVELS], lengths_us[SPANS]
        cdef int64_t kept_from = INT64_MIN if times[0] is None else times[0]
        cdef int64_t minutes_from = times[1], hours_until = times[2], days_until = times[3]
        cdef bint is_there[SPANS]
        cdef Entry entry
        cdef int index
        lengths_us[:] = self._lengths_us
        numbers[0] = 0
        for key, sums in self._groups.items():
            at = key
            memcpy(&minute, at, 8)
            minute *= self._minute_us
            if minute < kept_from:
                continue
            sums.add_record(pool)
            numbers[1], numbers[2] = hosts[sums.name], endpoints[sums.name]
            is_there[0], is_there[1], is_there[2] = minute >= minutes_from, minute < hours_until, minute < days_until
            entry.record, entry.project = pool.size - 1, <int32_t>get_32(at + KEY_NAME)
            for index in range(SPANS * LEVELS):
                entry.span, entry.level = index // LEVELS, index % LEVELS
                if is_there[entry.span]:
                    entry.start = floor_of(minute, lengths_us[entry.span]) * lengths_us[entry.span]
                    entry.key = numbers[entry.level] << KIND_BITS | at[8]
                    pool.add_entry(entry)
        return [self._make_stored(*row) for row in pool.encoded()]


cdef bint read_copied(const uint8_t* data, Py_ssize_t size, Row* row) except? False:
    """Read a row that Postgres copied out; False if a figure is NULL."""
    cdef const uint8_t* at = data + FIGURES
    cdef const uint8_t* end = data + size
    cdef int index
    if size < FIGURES:
        raise ValueError("a row is cut off")
    memcpy(&row.project, data + PROJECT, 4)
    row.timestamp = get_64(data + TIMESTAMP)
    row.is_inbound = data[IS_INBOUND]
    row.status_code = <int16_t>get_16(data + STATUS_CODE)
    for index in range(FIGURE_COUNT + TEXT_COUNT):
        if end - at < 4:
            raise ValueError("a row is cut off")
        if index < FIGURE_COUNT and <int32_t>get_32(at) < 0:
            return False
        at = read_value(at, end, OF_FIGURES + index, row)
    return True


cdef const uint8_t* read_written(const uint8_t* at, const uint8_t* end, bytes roles, Row* row) except NULL:
    """Read a row as it is sent to Postgres, and return where it ends."""
    cdef const uint8_t* role = roles
    cdef int index, count = len(roles)
    if end - at < 2 or get_16(at) != count:
        raise ValueError("a row has not the columns that are written")
    at += 2
    memset(row, 0, sizeof(Row))
    for index in range(count):
        if end - at < 4:
            raise ValueError("a row is cut off")
        if <int32_t>get_32(at) < 0:
            at += 4
        else:
            at = read_value(at, end, role[index], row)
    return at


cdef const uint8_t* read_value(const uint8_t* at, const uint8_t* end, int role, Row* row) except NULL:
    """Read a value that is not NULL, with its length before it, and return where it ends."""
    cdef uint32_t size = get_32(at)
    cdef int64_t figure
    at += 4
    if <uint64_t>(end - at) < size:
        raise ValueError("a row is cut off")
    if role >= OF_TEXTS:
        row.texts[role - OF_TEXTS], row.sizes[role - OF_TEXTS] = at, size
    elif role >= OF_FIGURES and (size == 4 or size == 8):
        figure = <int32_t>get_32(at) if size == 4 else get_64(at)
        row.figures[role - OF_FIGURES] = max(0, figure)  # only SQL can store one below 0
    elif role == OF_PROJECT and size == 4:
        memcpy(&row.project, at, 4)
    elif role == OF_TIMESTAMP and size == 8:
        row.timestamp = get_64(at)
    elif role == OF_IS_INBOUND and size == 1:
        row.is_inbound = at[0]
    elif role == OF_STATUS_CODE and size == 2:
        row.status_code = <int16_t>get_16(at)
    elif role > 0:
        raise ValueError("a value has a width that no column has")
    return at + size


cdef inline int64_t floor_of(int64_t value, int64_t unit) noexcept nogil:
    """Return the quotient rounded down; C rounds towards zero."""
    return value // unit - (value % unit < 0)


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
