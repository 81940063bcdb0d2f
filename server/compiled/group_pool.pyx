"""Sums of groups on their way into the stored form. storage/rollups/stored_groups.py is the reference."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memset

from server.compiled.stored_columns cimport (
    COUNT_SIZE, LITTLE_16, LITTLE_32, LITTLE_64, Groups, find_columns, value_of,
)

cdef enum:
    FIRST_ROOM = 256
    COLUMNS = 9
    GROUP_COLUMNS = 7  # with a value for each group; the others have one for each bucket
    BUCKETS = 2304  # there are 2,208
    MOST_GROUPS = 8192  # of a stored value, as the reference has it
    MOST_BUCKETS = 65536


cdef class GroupPool:
    """Records, and which groups of which rows they count towards."""

    def __dealloc__(self):
        PyMem_Free(self.records)
        PyMem_Free(self.buckets)
        PyMem_Free(self.counts)
        PyMem_Free(self.entries)

    cdef Record* new_record(self) except NULL:
        """Return a new record that is empty; it moves when the next one is made."""
        if self.size == self.room:
            self.room = max(2 * self.room, FIRST_ROOM)
            self.records = <Record*>_resized(self.records, self.room * sizeof(Record))
        cdef Record* record = &self.records[self.size]
        memset(record, 0, sizeof(Record))
        record.first_bucket = record.end_bucket = self.bucket_size
        self.size += 1
        return record

    cdef int add_bucket(self, uint16_t bucket, uint64_t count) except -1:
        """Add a bucket to the last record."""
        if bucket >= BUCKETS:
            raise ValueError("there is no such bucket")
        if self.bucket_size == self.bucket_room:
            self.bucket_room = max(2 * self.bucket_room, FIRST_ROOM)
            self.buckets = <uint16_t*>_resized(self.buckets, self.bucket_room * sizeof(uint16_t))
            self.counts = <uint64_t*>_resized(self.counts, self.bucket_room * sizeof(uint64_t))
        self.buckets[self.bucket_size] = bucket
        self.counts[self.bucket_size] = count
        self.bucket_size += 1
        self.records[self.size - 1].end_bucket = self.bucket_size
        return 0

    cdef int add_entry(self, Entry entry) except -1:
        """Have a record count towards a group."""
        if self.entry_size == self.entry_room:
            self.entry_room = max(2 * self.entry_room, FIRST_ROOM)
            self.entries = <Entry*>_resized(self.entries, self.entry_room * sizeof(Entry))
        self.entries[self.entry_size] = entry
        self.entry_size += 1
        return 0

    cdef int add_stored(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Add the groups of a stored value, as those of the row that all zeros stand for."""
        cdef Groups groups
        cdef uint64_t index, bucket, place = 0
        cdef Record* record
        cdef Entry entry
        memset(&entry, 0, sizeof(Entry))
        find_columns(&groups, data, size)
        for index in range(groups.count):
            record = self.new_record()
            record.requests = value_of(&groups.requests, index)
            record.slow = value_of(&groups.slow, index)
            record.duration_ms.low = value_of(&groups.duration_ms, index)
            record.request_bytes.low = value_of(&groups.request_bytes, index)
            record.response_bytes.low = value_of(&groups.response_bytes, index)
            for bucket in range(value_of(&groups.bucket_counts, index)):
                self.add_bucket(<uint16_t>value_of(&groups.buckets, place), value_of(&groups.counts, place))
                place += 1
            entry.key += value_of(&groups.steps, index)
            entry.record = self.size - 1
            self.add_entry(entry)
        return 0

    cdef list encoded(self):
        """Return the rows in order: span, project, level, start, and the stored value."""
        cdef list rows = []
        cdef _Writer writer = _Writer()
        cdef Py_ssize_t index = 0, end, group_end
        cdef const Entry* first
        qsort(self.entries, self.entry_size, sizeof(Entry), &_compare)
        while index < self.entry_size:
            first = &self.entries[index]
            end = index
            while end < self.entry_size and _is_same_row(first, &self.entries[end]):
                group_end = end + 1
                while group_end < self.entry_size and _compare(&self.entries[end], &self.entries[group_end]) == 0:
                    group_end += 1
                if writer.add_group(self, end, group_end):
                    rows.append((first.span, first.project, first.level, first.start, writer.take()))
                    writer.put_group(self.entries[end].key)
                end = group_end
            rows.append((first.span, first.project, first.level, first.start, writer.take()))
            index = end
        return rows


cdef class _Writer:
    """Writes groups into a stored value."""

    cdef uint64_t* columns[COLUMNS]
    cdef Py_ssize_t room[COLUMNS]
    cdef Py_ssize_t groups, buckets
    cdef int64_t last_key
    cdef Record sums
    cdef uint64_t* counted  # requests by bucket of the present group, from `lowest` up to, not including, `end`
    cdef Py_ssize_t lowest, end, different

    def __cinit__(self):
        self.counted = <uint64_t*>PyMem_Calloc(BUCKETS, sizeof(uint64_t))
        if self.counted == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef int column
        PyMem_Free(self.counted)
        for column in range(COLUMNS):
            PyMem_Free(self.columns[column])

    cdef bint add_group(self, GroupPool pool, Py_ssize_t first, Py_ssize_t end) except -1:
        """Sum up a group and put it; tell whether it has no room, and is to be put after what is there was taken."""
        cdef Py_ssize_t index
        memset(&self.sums, 0, sizeof(Record))
        self.lowest, self.end, self.different = BUCKETS, 0, 0
        for index in range(first, end):
            self.add_record(pool, &pool.records[pool.entries[index].record])
        if self.groups > 0 and (self.groups >= MOST_GROUPS or self.buckets + self.different > MOST_BUCKETS):
            return True
        self.put_group(pool.entries[first].key)
        return False

    cdef void add_record(self, GroupPool pool, const Record* record) noexcept:
        cdef uint64_t index
        cdef uint16_t bucket
        self.sums.requests += record.requests
        self.sums.slow += record.slow
        add_wide(&self.sums.duration_ms, &record.duration_ms)
        add_wide(&self.sums.request_bytes, &record.request_bytes)
        add_wide(&self.sums.response_bytes, &record.response_bytes)
        for index in range(record.first_bucket, record.end_bucket):
            bucket = pool.buckets[index]
            self.different += self.counted[bucket] == 0
            self.counted[bucket] += pool.counts[index]
            self.lowest = min(self.lowest, bucket)
            self.end = max(self.end, bucket + 1)

    cdef int put_group(self, int64_t key) except -1:
        """Put the group that was summed up."""
        cdef Py_ssize_t bucket
        cdef uint64_t of_group = self.different, requests = self.sums.requests, slow = self.sums.slow
        while True:
            self.put(0, self.groups, key - self.last_key)
            self.put(1, self.groups, requests)
            self.put(2, self.groups, slow)
            self.put(3, self.groups, _take_part(&self.sums.duration_ms))
            self.put(4, self.groups, _take_part(&self.sums.request_bytes))
            self.put(5, self.groups, _take_part(&self.sums.response_bytes))
            self.put(6, self.groups, of_group)
            self.groups += 1
            self.last_key = key
            requests = slow = of_group = 0
            if not (_has_more(self.sums.duration_ms) or _has_more(self.sums.request_bytes)
                    or _has_more(self.sums.response_bytes)):
                break
        for bucket in range(self.lowest, self.end):
            if self.counted[bucket] > 0:
                self.put(7, self.buckets, bucket)
                self.put(8, self.buckets, self.counted[bucket])
                self.buckets += 1
                self.counted[bucket] = 0
        return 0

    cdef int put(self, int column, Py_ssize_t index, uint64_t value) except -1:
        if index == self.room[column]:
            self.room[column] = max(2 * self.room[column], FIRST_ROOM)
            self.columns[column] = <uint64_t*>_resized(self.columns[column], self.room[column] * sizeof(uint64_t))
        self.columns[column][index] = value
        return 0

    cdef bytes take(self):
        """Return the stored value of all groups that were put, and begin another one."""
        cdef uint8_t widths[COLUMNS]
        cdef Py_ssize_t size = COUNT_SIZE, index
        cdef uint64_t bits
        cdef uint32_t count = LITTLE_32(<uint32_t>self.groups)
        cdef int column
        for column in range(COLUMNS):
            bits = 0
            for index in range(self.count_of(column)):
                bits |= self.columns[column][index]
            widths[column] = 0 if bits == 0 else 1 if bits < 2**8 else 2 if bits < 2**16 else 4 if bits >> 32 == 0 else 8
            size += 1 + widths[column] * self.count_of(column)
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(data)
        memcpy(out, &count, COUNT_SIZE)
        out += COUNT_SIZE
        for column in range(COLUMNS):
            out[0] = widths[column]
            out += 1
            for index in range(self.count_of(column)):
                out = _put_value(out, widths[column], self.columns[column][index])
        self.groups = self.buckets = 0
        self.last_key = 0
        return data

    cdef inline Py_ssize_t count_of(self, int column) noexcept:
        return self.groups if column < GROUP_COLUMNS else self.buckets


def merge(stored):
    """Return the sums of several stored values."""
    cdef GroupPool pool = GroupPool()
    cdef const uint8_t[::1] view
    for data in stored:
        view = data
        if len(view) > 0:
            pool.add_stored(&view[0], len(view))
    return [row[4] for row in pool.encoded()]


cdef void* _resized(void* memory, Py_ssize_t size) except NULL:
    cdef void* resized = PyMem_Realloc(memory, size)
    if resized == NULL:
        raise MemoryError
    return resized


cdef inline bint _has_more(Wide wide) noexcept nogil:
    return wide.low > 0 or wide.high > 0


cdef inline uint64_t _take_part(Wide* wide) noexcept nogil:
    """Take as much of a sum as 64 bits hold."""
    cdef uint64_t part = wide.low
    if wide.high > 0:
        part = <uint64_t>-1
        wide.high -= wide.low < part
        wide.low -= part
    else:
        wide.low = 0
    return part


cdef inline uint8_t* _put_value(uint8_t* out, uint8_t width, uint64_t value) noexcept nogil:
    cdef uint16_t two
    cdef uint32_t four
    if width == 1:
        out[0] = <uint8_t>value
    elif width == 2:
        two = LITTLE_16(<uint16_t>value)
        memcpy(out, &two, 2)
    elif width == 4:
        four = LITTLE_32(<uint32_t>value)
        memcpy(out, &four, 4)
    elif width == 8:
        value = LITTLE_64(value)
        memcpy(out, &value, 8)
    return out + width


cdef inline bint _is_same_row(const Entry* one, const Entry* other) noexcept nogil:
    return (one.span == other.span and one.project == other.project and one.level == other.level
            and one.start == other.start)


cdef int _compare(const void* left, const void* right) noexcept nogil:
    cdef const Entry* one = <const Entry*>left
    cdef const Entry* other = <const Entry*>right
    if one.span != other.span:
        return -1 if one.span < other.span else 1
    if one.project != other.project:
        return -1 if one.project < other.project else 1
    if one.level != other.level:
        return -1 if one.level < other.level else 1
    if one.start != other.start:
        return -1 if one.start < other.start else 1
    if one.key != other.key:
        return -1 if one.key < other.key else 1
    return 0
