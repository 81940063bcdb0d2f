"""The rules of the fields (`server.contract.rules`), as far as a value that keeps them can be told cheaply."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from server.compiled.bytes cimport Text, UUID_CHARACTERS, UUID_DIGITS, count_characters, is_dash_position
from server.compiled.instants cimport parse_instant
from server.compiled.table cimport *


cdef inline bint accept(const Table* table, Value* values) noexcept nogil:
    """Tell whether all values of an item keep their rules, after having made them as they are stored."""
    cdef int index
    for index in range(table.field_count):
        if not _accept_value(table, &table.fields[index], &values[index]):
            return False
    return True


cdef inline bint _accept_value(const Table* table, const Field* field, Value* value) noexcept nogil:
    if value.kind == ABSENT:
        return not field.required
    if field.rule == INTEGER:
        return value.kind == NUMBER and value.number >= 0
    if field.rule == STATUS_CODE:
        return value.kind == NUMBER and 0 <= value.number < STATUS_CODES and table.is_status_code[value.number]
    if field.rule == TIMESTAMP:
        if value.kind == STRING and parse_instant(value.text, &value.number):
            value.kind = MICROSECONDS
        return value.kind == MICROSECONDS and table.earliest_us <= value.number < table.end_us
    if value.kind != STRING:
        return False
    if field.rule == METHOD:
        return _is_method(table, value.text, field.longest)
    if field.rule == DIRECTION:
        return _find_direction(table, value)
    if field.rule == PATH:
        value.text.size = _size_of_path(value.text)
    if field.is_trace_id:
        value.number = _kind_of_trace(table, value.text)
    return (not field.required or _is_visible(value.text)) and _is_short(value.text, field.longest)


cdef inline bint _is_short(Text text, Py_ssize_t longest) noexcept nogil:
    return text.size <= longest or count_characters(text) <= longest


cdef inline bint _is_visible(Text text) noexcept nogil:
    # A text in which no byte is a visible ASCII character may be blank.
    cdef Py_ssize_t index
    for index in range(text.size):
        if 0x21 <= text.at[index] <= 0x7E:
            return True
    return False


cdef inline Py_ssize_t _size_of_path(Text text) noexcept nogil:
    """Return the size without query and fragment."""
    cdef Py_ssize_t index
    for index in range(text.size):
        if text.at[index] == c"?" or text.at[index] == c"#":
            return index
    return text.size


cdef inline bint _is_method(const Table* table, Text text, Py_ssize_t longest) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(text.size):
        if not table.stored_in_method[text.at[index]]:
            return False
    return 0 < text.size <= longest


cdef inline bint _find_direction(const Table* table, Value* value) noexcept nogil:
    cdef int index
    for index in range(2):
        if value.text.size == table.directions[index].size and not memcmp(
            value.text.at, table.directions[index].at, value.text.size
        ):
            value.number = index
            return True
    return False


cdef inline TraceKind _kind_of_trace(const Table* table, Text text) noexcept nogil:
    cdef uint8_t digits = 0
    cdef int index
    if text.size != UUID_DIGITS and text.size != UUID_CHARACTERS:
        return OTHER
    for index in range(text.size):
        if text.size == UUID_CHARACTERS and is_dash_position(index):
            if text.at[index] != c"-":
                return OTHER
        else:
            digits |= table.hex_values[text.at[index]]
    if digits > 15:
        return OTHER
    return DIGITS if text.size == UUID_DIGITS else DASHED_UUID
