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
    RECEIVED_AT
    # Integers of 8, 4 and 2 bytes; NULL in that of 4 bytes when the value is too long, and else in that for long ones.
    BIGINT
    LONG_BIGINT
    INTEGER_UNLESS_LONG
    SMALLINT
    INSTANT
    IS_FIRST_DIRECTION
    # NULL in the one or the other, as a trace id is 32 lower-case hex digits or not.
    HEX_AS_UUID
    # From here on, of any length.
    TEXT_UNLESS_HEX
    PLAIN_TEXT
    METHOD_TEXT

cdef enum Kind:
    ABSENT  # or null
    STRING
    NUMBER
    MICROSECONDS
    BOOLEAN

cdef struct Value:
    # `number` belongs to NUMBER and MICROSECONDS; of a direction it is its position, of a text whether it is hex.
    Kind kind
    Text text
    int64_t number

cdef struct Field:
    Rule rule
    bint required
    bint may_be_hex
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
    Py_ssize_t project_size
    Py_ssize_t widest_row  # without texts

cdef struct Batch:
    # What is found beside the rows; `at` of a text is NULL when it is not there.
    Text project_id
    Text idempotency_key
    int rows
