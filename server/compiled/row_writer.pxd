"""A row in binary COPY form (PostgreSQL manual, "COPY", "Binary Format"), from values that keep their rules."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from server.compiled.bytes cimport UUID_BYTES, Text, put_16, put_32, put_64, put_bytes
from server.compiled.table cimport *

cdef enum:
    ROW_HEADER = 2  # bytes: the number of columns
    MAX_INTEGER = 0x7FFFFFFF
    NULL_LENGTH = 0xFFFFFFFF
cdef extern from *:
    """
    /* Postgres counts microseconds from 2000-01-01 UTC. */
    #define POSTGRES_EPOCH_US INT64_C(946684800000000)
    """
    int64_t POSTGRES_EPOCH_US


cdef struct Rows:
    # Where rows go, what they have in common, and the id of the first of them.
    uint8_t* at
    uint8_t* end
    uint32_t project
    uint64_t id_upper
    uint64_t id_lower


cdef inline Py_ssize_t width_of(Form form) noexcept nogil:
    """Return the most bytes that a column takes, with its length; of a text without the text."""
    if form == ID or form == TRACE_AS_UUID:
        return 4 + UUID_BYTES
    return 4 if form >= OTHER_TRACE else 4 + 8


cdef inline bint write_row(const Table* table, const Value* values, Rows* rows) noexcept nogil:
    """Append a row; False when there might not be room for it."""
    cdef Py_ssize_t size = table.widest_row
    cdef uint8_t* out = rows.at
    cdef const Column* column
    cdef int index
    for index in range(table.column_count):
        column = &table.columns[index]
        if column.form >= OTHER_TRACE:
            size += values[column.field].text.size
    if rows.end - out < size:
        return False
    out = put_16(out, <uint16_t>table.column_count)
    for index in range(table.column_count):
        column = &table.columns[index]
        if column.form == ID:
            out = put_64(put_64(put_32(out, UUID_BYTES), rows.id_upper), rows.id_lower)
        elif column.form == PROJECT:
            out = put_32(put_32(out, 4), rows.project)
        else:
            out = _write_value(table, column.form, &values[column.field], out)
    rows.at = out
    rows.id_upper += 1
    rows.id_lower += 1
    return True


cdef inline uint8_t* _write_value(const Table* table, Form form, const Value* value, uint8_t* out) noexcept nogil:
    if value.kind == ABSENT:
        return put_32(out, NULL_LENGTH)
    if form == METHOD_TEXT:
        return _put_method(table, put_32(out, <uint32_t>value.text.size), value.text)
    if form >= OTHER_TRACE:
        if form == OTHER_TRACE and value.number != OTHER:
            return put_32(out, NULL_LENGTH)
        return put_bytes(put_32(out, <uint32_t>value.text.size), value.text.at, value.text.size)
    if form == INTEGER_UNLESS_LONG:
        if value.number > MAX_INTEGER:
            return put_32(out, NULL_LENGTH)
        return put_32(put_32(out, 4), <uint32_t>value.number)
    if form == LONG_BIGINT:
        if value.number <= MAX_INTEGER:
            return put_32(out, NULL_LENGTH)
        return put_64(put_32(out, 8), <uint64_t>value.number)
    if form == SMALLINT:
        return put_16(put_32(out, 2), <uint16_t>value.number)
    if form == IS_FIRST_DIRECTION:
        return _put_boolean(out, value.number == 0)
    if form == TRACE_IS_DASHED:
        return _put_boolean(out, value.number == DASHED_UUID)
    if form == TRACE_AS_UUID:
        if value.number == OTHER:
            return put_32(out, NULL_LENGTH)
        return _put_uuid(table, put_32(out, UUID_BYTES), value.text)
    return put_64(put_32(out, 8), <uint64_t>(value.number - POSTGRES_EPOCH_US))  # INSTANT


cdef inline uint8_t* _put_boolean(uint8_t* out, bint value) noexcept nogil:
    out = put_32(out, 1)
    out[0] = value
    return out + 1


cdef inline uint8_t* _put_method(const Table* table, uint8_t* out, Text method) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(method.size):
        out[index] = table.stored_in_method[method.at[index]]
    return out + method.size


cdef inline uint8_t* _put_uuid(const Table* table, uint8_t* out, Text uuid) noexcept nogil:
    """Write 16 bytes of 32 digits, among which there may be the dashes of a UUID."""
    cdef int index, position = 0
    for index in range(UUID_BYTES):
        if uuid.at[position] == c"-":
            position += 1
        out[index] = table.hex_values[uuid.at[position]] << 4 | table.hex_values[uuid.at[position + 1]]
        position += 2
    return out + UUID_BYTES
