"""A row in binary COPY form (PostgreSQL manual, "COPY", "Binary Format"), from values that keep their rules."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from server.compiled.bytes cimport Text, put_16, put_32, put_64, put_bytes
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
    const uint8_t* project
    int64_t received_us
    uint64_t id_upper
    uint64_t id_lower


cdef inline Py_ssize_t width_of(Form form, Py_ssize_t project_size) noexcept nogil:
    """Return the most bytes that a column takes, with its length; of a text without the text."""
    if form == ID or form == HEX_AS_UUID:
        return 4 + 16
    if form == PROJECT:
        return 4 + project_size
    if form >= TEXT_UNLESS_HEX:
        return 4
    return 4 + 8


cdef inline bint write_row(const Table* table, const Value* values, Rows* rows) noexcept nogil:
    """Append a row; False when there might not be room for it."""
    cdef Py_ssize_t size = table.widest_row
    cdef uint8_t* out = rows.at
    cdef const Column* column
    cdef int index
    for index in range(table.column_count):
        column = &table.columns[index]
        if column.form >= TEXT_UNLESS_HEX:
            size += values[column.field].text.size
    if rows.end - out < size:
        return False
    out = put_16(out, <uint16_t>table.column_count)
    for index in range(table.column_count):
        column = &table.columns[index]
        if column.form <= RECEIVED_AT:
            out = _write_own(table, column.form, rows, out)
        else:
            out = _write_value(table, column.form, &values[column.field], out)
    rows.at = out
    rows.id_upper += 1
    rows.id_lower += 1
    return True


cdef inline uint8_t* _write_own(const Table* table, Form form, const Rows* rows, uint8_t* out) noexcept nogil:
    if form == ID:
        return put_64(put_64(put_32(out, 16), rows.id_upper), rows.id_lower)
    if form == PROJECT:
        return put_bytes(put_32(out, <uint32_t>table.project_size), rows.project, table.project_size)
    return put_64(put_32(out, 8), <uint64_t>(rows.received_us - POSTGRES_EPOCH_US))


cdef inline uint8_t* _write_value(
    const Table* table, Form form, const Value* value, uint8_t* out
) noexcept nogil:
    if value.kind == ABSENT:
        return put_32(out, NULL_LENGTH)
    if form == METHOD_TEXT:
        return _put_method(table, put_32(out, <uint32_t>value.text.size), value.text)
    if form >= TEXT_UNLESS_HEX:
        if form == TEXT_UNLESS_HEX and value.number:
            return put_32(out, NULL_LENGTH)
        return put_bytes(put_32(out, <uint32_t>value.text.size), value.text.at, value.text.size)
    if form == INTEGER_UNLESS_LONG:
        if value.number > MAX_INTEGER:
            return put_32(out, NULL_LENGTH)
        return put_32(put_32(out, 4), <uint32_t>value.number)
    if form == LONG_BIGINT and value.number <= MAX_INTEGER:
        return put_32(out, NULL_LENGTH)
    if form == SMALLINT:
        return put_16(put_32(out, 2), <uint16_t>value.number)
    if form == INSTANT:
        return put_64(put_32(out, 8), <uint64_t>(value.number - POSTGRES_EPOCH_US))
    if form == IS_FIRST_DIRECTION:
        out = put_32(out, 1)
        out[0] = value.number == 0
        return out + 1
    if form == HEX_AS_UUID:
        if not value.number:
            return put_32(out, NULL_LENGTH)
        return _put_hex(table, put_32(out, 16), value.text.at)
    return put_64(put_32(out, 8), <uint64_t>value.number)


cdef inline uint8_t* _put_method(const Table* table, uint8_t* out, Text method) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(method.size):
        out[index] = table.stored_in_method[method.at[index]]
    return out + method.size


cdef inline uint8_t* _put_hex(const Table* table, uint8_t* out, const uint8_t* digits) noexcept nogil:
    cdef int index
    for index in range(16):
        out[index] = table.hex_values[digits[2 * index]] << 4 | table.hex_values[digits[2 * index + 1]]
    return out + 16
