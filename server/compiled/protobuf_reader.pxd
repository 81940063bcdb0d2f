"""Reads a message of protobuf's wire format (protobuf.dev, "Encoding") in its common form.

False stands for anything else: a broken message, groups, a known field of another wire type, a submessage that comes in
parts, numbers longer than need be or beyond what a valid field holds. The reference tells what that is.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from server.compiled.bytes cimport Cursor, Text, is_text
from server.compiled.row_writer cimport Rows, write_row
from server.compiled.rules cimport accept
from server.compiled.table cimport *

cdef enum WireType:
    VARINT = 0
    FIXED_64 = 1
    LENGTH = 2
    FIXED_32 = 5

cdef enum:
    LONGEST_VARINT = 9  # bytes: 63 bits
    MICROSECOND_NS = 1000
    SECOND_US = 1_000_000
    SECOND_NS = 1_000_000_000
    SECONDS = 1  # fields of google.protobuf.Timestamp
    NANOS = 2


cdef inline bint read_message(const Table* table, Cursor* wire, Batch* batch, Rows* rows) noexcept nogil:
    """Read a whole message and append its rows; True when all of it keeps the rules, but for the project and the key."""
    cdef Value values[MAX_FIELDS]
    cdef Cursor item
    cdef Text text
    cdef uint64_t number
    cdef int wire_type
    while wire.at < wire.end:
        if not _read_tag(wire, &number, &wire_type):
            return False
        if number == <uint64_t>table.number_of_items:
            if wire_type != LENGTH or batch.rows == table.most_items or not _read_part(wire, &item):
                return False
            if not (_read_item(table, &item, values) and accept(table, values) and write_row(table, values, rows)):
                return False
            batch.rows += 1
        elif number == <uint64_t>table.number_of_project or number == <uint64_t>table.number_of_key:
            if wire_type != LENGTH or not _read_text(wire, &text):
                return False
            if number == <uint64_t>table.number_of_project:
                batch.project_id = text
            else:
                batch.idempotency_key = text
        elif not _skip(wire, wire_type):
            return False
    return batch.rows > 0


cdef inline bint _read_item(const Table* table, Cursor* wire, Value* values) noexcept nogil:
    cdef uint64_t number
    cdef int wire_type, field
    cdef const Field* described
    cdef Value* value
    for field in range(table.field_count):
        values[field].kind = ABSENT
        values[field].text.size = 0
    while wire.at < wire.end:
        if not _read_tag(wire, &number, &wire_type):
            return False
        field = table.field_of_number[number] if number < FIELD_NUMBERS else -1
        if field < 0:
            if not _skip(wire, wire_type):
                return False
            continue
        described = &table.fields[field]
        value = &values[field]
        if described.rule == TIMESTAMP:
            # Of a submessage that comes again, the parts are merged.
            if value.kind != ABSENT or wire_type != LENGTH or not _read_timestamp(wire, &value.number):
                return False
            value.kind = MICROSECONDS
        elif described.rule == INTEGER or described.rule == STATUS_CODE:
            if wire_type != VARINT or not _read_varint(wire, &number):
                return False
            value.kind = NUMBER
            value.number = <int64_t>number
        else:
            if wire_type != LENGTH or not _read_text(wire, &value.text):
                return False
            value.kind = STRING
    return True


cdef inline bint _read_timestamp(Cursor* wire, int64_t* microseconds) noexcept nogil:
    cdef Cursor part
    cdef uint64_t number, value, seconds = 0, nanos = 0
    cdef int wire_type
    if not _read_part(wire, &part):
        return False
    while part.at < part.end:
        if not (_read_tag(&part, &number, &wire_type) and wire_type == VARINT and _read_varint(&part, &value)):
            return False
        if number == SECONDS:
            seconds = value
        elif number == NANOS:
            nanos = value
        else:
            return False
    if seconds >= <uint64_t>1 << 40 or nanos >= SECOND_NS:  # the rule sees to the exact end
        return False
    microseconds[0] = <int64_t>(seconds * SECOND_US + nanos // MICROSECOND_NS)
    return True


cdef inline bint _read_tag(Cursor* wire, uint64_t* number, int* wire_type) noexcept nogil:
    cdef uint64_t tag
    if not _read_varint(wire, &tag) or tag >> 32 or tag < 8:  # numbers count from 1
        return False
    number[0] = tag >> 3
    wire_type[0] = <int>(tag & 7)
    return True


cdef inline bint _read_varint(Cursor* wire, uint64_t* value) noexcept nogil:
    """Read a number of at most 63 bits that is not longer than need be."""
    cdef const uint8_t* at = wire.at
    cdef uint64_t byte
    cdef int shift = 0
    value[0] = 0
    while at < wire.end and shift < 7 * LONGEST_VARINT:
        byte = at[0]
        at += 1
        value[0] |= (byte & 0x7F) << shift
        if byte < 0x80:
            wire.at = at
            return byte != 0 or shift == 0
        shift += 7
    return False


cdef inline bint _read_part(Cursor* wire, Cursor* part) noexcept nogil:
    """Read a length and go past what is that long."""
    cdef uint64_t size
    if not _read_varint(wire, &size) or size > <uint64_t>(wire.end - wire.at):
        return False
    part.at = wire.at
    part.end = wire.at + size
    wire.at = part.end
    return True


cdef inline bint _read_text(Cursor* wire, Text* text) noexcept nogil:
    cdef Cursor part
    if not _read_part(wire, &part) or not is_text(part.at, part.end):
        return False
    text.at = part.at
    text.size = part.end - part.at
    return True


cdef inline bint _skip(Cursor* wire, int wire_type) noexcept nogil:
    """Go past the value of an unknown field."""
    cdef Cursor part
    cdef uint64_t value
    cdef Py_ssize_t size
    if wire_type == VARINT:
        return _read_varint(wire, &value)
    if wire_type == LENGTH:
        return _read_part(wire, &part)
    if wire_type != FIXED_32 and wire_type != FIXED_64:
        return False
    size = 4 if wire_type == FIXED_32 else 8
    if wire.end - wire.at < size:
        return False
    wire.at += size
    return True
