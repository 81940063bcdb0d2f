"""The fields of an item and the columns of a row, as `server.compiled.tables` hands them over."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from server.compiled.bytes cimport Text

cdef enum:
    MAX_FIELDS = 32  # bits of a mask
    MAX_COLUMNS = 64
    FIELD_NUMBERS = 32  # of protobuf, from 0
    STATUS_CODES = 1000

cdef enum Rule:
    TEXT
    PATH
    METHOD
    DIRECTION
    INTEGER
    STATUS_CODE
    TIMESTAMP

cdef enum Form:
    # What the server fills in.
    ID
    PROJECT
    # An integer that fits 4 bytes is NULL in the column for long ones, and a long one in the other.
    INTEGER_UNLESS_LONG
    LONG_BIGINT
    SMALLINT
    INSTANT
    IS_FIRST_DIRECTION
    # A trace id is NULL in `trace` or in `other_trace`.
    TRACE_AS_UUID
    TRACE_IS_DASHED
    # From here on, of any length.
    OTHER_TRACE
    PLAIN_TEXT
    METHOD_TEXT

cdef enum Kind:
    ABSENT  # or null
    STRING
    NUMBER
    MICROSECONDS
    BOOLEAN

cdef enum TraceKind:
    # As `storage.trace_ids` tells them apart.
    OTHER
    DIGITS
    DASHED_UUID

cdef struct Value:
    # `number` belongs to NUMBER and MICROSECONDS; of a direction it is its position, of a trace id its TraceKind.
    Kind kind
    Text text
    int64_t number

cdef struct Field:
    Rule rule
    bint required
    bint is_trace_id
    Py_ssize_t longest
    Text json_name

cdef struct Column:
    Form form
    int field

cdef struct Table:
    int field_count
    int column_count
    Field fields[MAX_FIELDS]
    Column columns[MAX_COLUMNS]
    # By protobuf's numbers, -1 for none.
    int field_of_number[FIELD_NUMBERS]
    int number_of_project
    int number_of_items
    int number_of_key
    int most_items
    Text directions[2]
    uint8_t stored_in_method[256]  # of what is no part of a method: 0
    bint is_status_code[STATUS_CODES]
    uint8_t hex_values[256]  # of what is no digit: 0xff
    int64_t earliest_us  # of all instants; seconds since 1970
    int64_t end_us
    Py_ssize_t widest_row  # without texts

cdef struct Batch:
    # What is found beside the rows; `at` of a text is NULL when it is not there.
    Text project_id
    Text idempotency_key
    int rows
