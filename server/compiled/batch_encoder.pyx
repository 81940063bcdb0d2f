"""Batches from the bytes of a body or a message to the rows of binary COPY, in one pass."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memset

from server.compiled.bytes cimport UUID_BYTES, UUID_CHARACTERS, Cursor, Text, is_dash_position
from server.compiled.json_reader cimport Json, read_body
from server.compiled.protobuf_reader cimport read_message
from server.compiled.row_writer cimport ROW_HEADER, Rows, width_of
from server.compiled.table cimport *


cdef dict _RULES = {
    "text": TEXT, "path": PATH, "method": METHOD, "direction": DIRECTION, "integer": INTEGER,
    "status_code": STATUS_CODE, "timestamp": TIMESTAMP,
}
cdef dict _FORMS = {
    "id": ID, "project": PROJECT, "integer_unless_long": INTEGER_UNLESS_LONG, "long_bigint": LONG_BIGINT,
    "smallint": SMALLINT, "instant": INSTANT, "is_first_direction": IS_FIRST_DIRECTION, "trace": TRACE_AS_UUID,
    "trace_is_dashed": TRACE_IS_DASHED, "other_trace": OTHER_TRACE, "text": PLAIN_TEXT, "method": METHOD_TEXT,
}

cdef class BatchEncoder:
    """Encodes batches of one table of fields into rows of one form. See the stub file for the interface."""

    cdef Table _table
    cdef list _kept  # the bytes that the table points to

    def __init__(self, fields, columns, *, numbers, most_items, directions, methods, status_codes, instants):
        cdef int index
        memset(&self._table, 0, sizeof(Table))
        self._kept = []
        if not (0 < len(fields) <= MAX_FIELDS and 0 < len(columns) <= MAX_COLUMNS):
            raise ValueError("too many fields or columns")
        for index in range(FIELD_NUMBERS):
            self._table.field_of_number[index] = -1
        self._table.field_count, self._table.column_count = len(fields), len(columns)
        for index, field in enumerate(fields):
            self._table.fields[index] = self._field_of(field, columns)
            if not 0 < field.number < FIELD_NUMBERS:
                raise ValueError(f"{field.name} has too high a number")
            self._table.field_of_number[field.number] = index
        names = [field.name for field in fields]
        self._table.widest_row = ROW_HEADER
        for index, (form, name) in enumerate(columns):
            self._table.columns[index].form = _FORMS[form]
            self._table.columns[index].field = 0 if name is None else names.index(name)
            self._table.widest_row += width_of(self._table.columns[index].form)
        self._table.number_of_project, self._table.number_of_items, self._table.number_of_key = numbers
        self._table.most_items = most_items
        for index, direction in enumerate(directions):
            self._table.directions[index] = self._text_of(direction)
        for sent, stored in zip(*methods):
            self._table.stored_in_method[sent] = stored
        for status_code in status_codes:
            if not 0 <= status_code < STATUS_CODES:
                raise ValueError(f"{status_code} is no status code")
            self._table.is_status_code[status_code] = True
        for index in range(256):
            self._table.hex_values[index] = b"0123456789abcdef".find(index) & 0xFF
        self._table.earliest_us, self._table.end_us = instants

    cdef Field _field_of(self, field, columns) except *:
        cdef Field made
        made.rule = _RULES[field.rule]
        made.required = field.required
        made.longest = field.longest
        made.is_trace_id = ("trace", field.name) in columns
        made.json_name = self._text_of(field.json_name)
        return made

    cdef Text _text_of(self, text) except *:
        cdef Text made
        data = text.encode()
        self._kept.append(data)
        made.at = <const uint8_t*>PyBytes_AS_STRING(data)
        made.size = len(data)
        return made

    def encode_json(
        self, bytes body not None, bytes project_id not None, uint32_t project, uint64_t id_upper, uint64_t id_lower,
    ):
        return self._encode(body, True, project_id, project, id_upper, id_lower)

    def encode_message(
        self, bytes message not None, bytes project_id not None, uint32_t project, uint64_t id_upper, uint64_t id_lower,
    ):
        return self._encode(message, False, project_id, project, id_upper, id_lower)

    cdef _encode(
        self, bytes data, bint is_json, bytes project_id, uint32_t project, uint64_t id_upper, uint64_t id_lower,
    ):
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Cursor cursor
        cdef Json json
        cdef Batch batch
        cdef Rows rows
        cdef bint is_right
        cdef uint8_t* unescaped = NULL
        # Texts are parts of the data that do not overlap; `write_row` stops should this not be enough all the same.
        cdef Py_ssize_t room = self._table.most_items * self._table.widest_row + size
        if PyBytes_GET_SIZE(project_id) != UUID_BYTES:
            raise ValueError("a project id has 16 bytes")
        cdef uint8_t* first = <uint8_t*>PyMem_Malloc(room)
        if first == NULL:
            raise MemoryError
        try:
            memset(&batch, 0, sizeof(Batch))
            rows.at, rows.end = first, first + room
            rows.project, rows.id_upper, rows.id_lower = project, id_upper, id_lower
            if is_json:
                if size and memchr(start, c"\\", size) != NULL:
                    unescaped = <uint8_t*>PyMem_Malloc(size)
                    if unescaped == NULL:
                        raise MemoryError
                json.at, json.end = start, start + size
                json.unescaped, json.unescaped_end = unescaped, unescaped
                if unescaped != NULL:
                    json.unescaped_end += size
                is_right = read_body(&self._table, &json, &batch, &rows)
            else:
                cursor.at, cursor.end = start, start + size
                is_right = read_message(&self._table, &cursor, &batch, &rows)
            if not is_right or not _is_uuid(&self._table, batch.project_id, project_id):
                return None
            encoded = PyBytes_FromStringAndSize(<const char*>first, rows.at - first)
            return batch.rows, encoded, _string_of(batch.idempotency_key)
        finally:
            PyMem_Free(unescaped)
            PyMem_Free(first)


cdef _string_of(Text text):
    if text.at == NULL:
        return None
    return PyUnicode_DecodeUTF8(<const char*>text.at, text.size, NULL)


cdef bint _is_uuid(const Table* table, Text text, bytes expected) noexcept:
    """Tell whether a text is the UUID of these 16 bytes, in its 36-character form (RFC 9562, 4)."""
    cdef const uint8_t* uuid = <const uint8_t*>PyBytes_AS_STRING(expected)
    cdef int index, position = 0
    if text.at == NULL or text.size != UUID_CHARACTERS:
        return False
    for index in range(UUID_BYTES):
        if is_dash_position(position):
            if text.at[position] != c"-":
                return False
            position += 1
        if _hex_value(table, text.at[position]) != uuid[index] >> 4:
            return False
        if _hex_value(table, text.at[position + 1]) != uuid[index] & 15:
            return False
        position += 2
    return True


cdef inline uint8_t _hex_value(const Table* table, uint8_t digit) noexcept:
    return table.hex_values[digit + 32 if c"A" <= digit <= c"F" else digit]
