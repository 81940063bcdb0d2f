"""Totals over stored groups, for answers. storage/reading/totals.py is the reference."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from server.compiled.group_pool cimport Wide, add_to
from server.compiled.stored_columns cimport KIND_BITS, Column, Groups, find_columns, value_of

cdef enum:
    BUCKETS = 2304  # there are 2,208
    INBOUND = 1 << 4
    CLASSES = 15
    FIRST_FAILED = 4
    SORT_FAILED = 0
    SORT_REQUESTS = 1
    SORT_TIME = 2
    FIRST_ROOM = 1024


cdef struct Total:
    int64_t group
    uint64_t requests, failed, slow, inbound
    Wide duration_ms, request_bytes, response_bytes
    uint64_t* counts  # requests by bucket, NULL where nobody asks for them


cdef class RowTotals:
    """Adds up stored groups. See the stub file for the interface."""

    cdef uint32_t _kinds
    cdef Total* _totals
    cdef Py_ssize_t _size, _room
    cdef int32_t* _places  # by group: its place among the totals from 1 on, 0 where there is none
    cdef Py_ssize_t _groups
    cdef object _make_sums

    def __cinit__(self, kinds, *, make_sums):
        self._kinds, self._make_sums = kinds, make_sums

    def __dealloc__(self):
        cdef Py_ssize_t place
        for place in range(self._size):
            PyMem_Free(self._totals[place].counts)
        PyMem_Free(self._totals)
        PyMem_Free(self._places)

    def add(self, const uint8_t[::1] data, group, groups_of):
        cdef Groups groups
        cdef uint64_t index, requests
        cdef int64_t key = 0, number = -1, place = -1, fixed = -1 if group is None else group
        cdef Total* total
        find_columns(&groups, &data[0], len(data))
        for index in range(groups.count):
            key += value_of(&groups.steps, index)
            if not self._kinds >> (key & 31) & 1:
                continue
            if key >> KIND_BITS != number:
                number = key >> KIND_BITS
                place = self._place_of(number, fixed, groups_of, True)
            if place < 0:
                continue
            total = &self._totals[place]
            requests = value_of(&groups.requests, index)
            total.requests += requests
            if key & INBOUND:
                total.inbound += requests
            if key & CLASSES == 0 or key & CLASSES >= FIRST_FAILED:
                total.failed += requests
            total.slow += value_of(&groups.slow, index)
            add_to(&total.duration_ms, value_of(&groups.duration_ms, index))
            add_to(&total.request_bytes, value_of(&groups.request_bytes, index))
            add_to(&total.response_bytes, value_of(&groups.response_bytes, index))

    def add_figures(self, group, requests, failed, slow, inbound, duration_ms, request_bytes, response_bytes):
        cdef Total* total = &self._totals[self._place(group, True)]
        total.requests += requests
        total.failed += failed
        total.slow += slow
        total.inbound += inbound
        add_int(&total.duration_ms, duration_ms)
        add_int(&total.request_bytes, request_bytes)
        add_int(&total.response_bytes, response_bytes)

    def first(self, sort, limit):
        """The least of the first ones is kept up to date in a short list that is in order."""
        cdef Py_ssize_t place, kept = 0, at, most = limit, size = self._size
        cdef int by = sort
        cdef list groups = []
        cdef Py_ssize_t* best = <Py_ssize_t*>PyMem_Calloc(most + 1, sizeof(Py_ssize_t))
        if best == NULL:
            raise MemoryError
        for place in range(size):
            if self._totals[place].requests == 0:
                continue
            if kept == most and not comes_before(&self._totals[place], &self._totals[best[kept - 1]], by):
                continue
            at = min(kept, most - 1)
            kept = at + 1
            while at > 0 and comes_before(&self._totals[place], &self._totals[best[at - 1]], by):
                best[at] = best[at - 1]
                at -= 1
            best[at] = place
        for place in range(size):
            if self._totals[place].requests > 0 and (
                kept < most or not comes_before(&self._totals[best[kept - 1]], &self._totals[place], by)
            ):
                groups.append(self._totals[place].group)
        PyMem_Free(best)
        return groups

    def all(self):
        return [self._totals[place].group for place in range(self._size) if self._totals[place].requests > 0]

    def count_buckets(self, groups):
        cdef Py_ssize_t place
        for group in groups:
            place = self._place(group, False)
            if place >= 0 and self._totals[place].counts == NULL:
                self._totals[place].counts = <uint64_t*>PyMem_Calloc(BUCKETS, sizeof(uint64_t))
                if self._totals[place].counts == NULL:
                    raise MemoryError

    def add_buckets(self, const uint8_t[::1] data, group, groups_of):
        cdef Groups groups
        cdef uint64_t index, bucket, first = 0, end
        cdef int64_t key = 0, number = -1, place = -1, fixed = -1 if group is None else group
        cdef uint64_t* counts
        find_columns(&groups, &data[0], len(data))
        for index in range(groups.count):
            key += value_of(&groups.steps, index)
            end = first + value_of(&groups.bucket_counts, index)
            if self._kinds >> (key & 31) & 1:
                if key >> KIND_BITS != number:
                    number = key >> KIND_BITS
                    place = self._place_of(number, fixed, groups_of, False)
                counts = NULL if place < 0 else self._totals[place].counts
                if counts != NULL:
                    add_counts(counts, &groups.buckets, &groups.counts, first, end)
            first = end

    def sums(self, group):
        cdef Py_ssize_t place = self._place(group, False)
        cdef Total* total
        cdef int bucket
        if place < 0:
            return self._make_sums()
        total = &self._totals[place]
        buckets = {}
        if total.counts != NULL:
            buckets = {bucket: total.counts[bucket] for bucket in range(BUCKETS) if total.counts[bucket] > 0}
        return self._make_sums(
            total.requests, total.failed, total.slow, total.inbound, to_int(total.duration_ms),
            to_int(total.request_bytes), to_int(total.response_bytes), buckets,
        )

    cdef int64_t _place_of(self, int64_t number, int64_t fixed, object groups_of, bint make) except -2:
        """Return the place of the total that a number counts towards, -1 for none."""
        if groups_of is None:
            return self._place(fixed if fixed >= 0 else number, make)
        group = groups_of.get(number)
        if group is None:
            return -1
        return self._place(fixed if fixed >= 0 else group, make)

    cdef int64_t _place(self, int64_t group, bint make) except -2:
        cdef Py_ssize_t groups
        if group >= self._groups:
            if not make:
                return -1
            groups = max(2 * self._groups, group + FIRST_ROOM)
            self._places = <int32_t*>_resized(self._places, groups * sizeof(int32_t))
            memset(self._places + self._groups, 0, (groups - self._groups) * sizeof(int32_t))
            self._groups = groups
        if self._places[group] == 0 and make:
            if self._size == self._room:
                self._room = max(2 * self._room, FIRST_ROOM)
                self._totals = <Total*>_resized(self._totals, self._room * sizeof(Total))
            memset(&self._totals[self._size], 0, sizeof(Total))
            self._totals[self._size].group = group
            self._size += 1
            self._places[group] = self._size
        return self._places[group] - 1


cdef void add_counts(
    uint64_t* counts, const Column* buckets, const Column* of_buckets, uint64_t first, uint64_t end
) noexcept nogil:
    cdef uint64_t index, bucket
    for index in range(first, end):
        bucket = value_of(buckets, index)
        if bucket < BUCKETS:
            counts[bucket] += value_of(of_buckets, index)


cdef bint comes_before(const Total* one, const Total* other, int sort) noexcept nogil:
    """Tell whether a group comes before another one; equal ones do not."""
    if sort == SORT_FAILED:
        if one.failed != other.failed:
            return one.failed > other.failed
        return one.requests > other.requests
    if sort == SORT_REQUESTS:
        if one.requests != other.requests:
            return one.requests > other.requests
        return one.failed > other.failed
    if sort != SORT_TIME:
        if mean_of(one) != mean_of(other):
            return mean_of(one) > mean_of(other)
        return one.requests > other.requests
    if one.duration_ms.high != other.duration_ms.high:
        return one.duration_ms.high > other.duration_ms.high
    if one.duration_ms.low != other.duration_ms.low:
        return one.duration_ms.low > other.duration_ms.low
    return one.requests > other.requests


cdef double mean_of(const Total* total) noexcept nogil:
    """Return the mean duration of a group that has requests."""
    return (<double>total.duration_ms.high * 18446744073709551616.0 + <double>total.duration_ms.low) / total.requests


cdef int add_int(Wide* wide, object value) except -1:
    add_to(wide, <uint64_t>(value & 0xFFFFFFFFFFFFFFFF))
    wide.high += <uint64_t>(value >> 64)
    return 0


cdef object to_int(Wide wide):
    return (<object>wide.high << 64) | <object>wide.low if wide.high else <object>wide.low


cdef void* _resized(void* memory, Py_ssize_t size) except NULL:
    cdef void* resized = PyMem_Realloc(memory, size)
    if resized == NULL:
        raise MemoryError
    return resized
