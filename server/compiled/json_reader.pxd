"""Reads a body of JSON (RFC 8259) in its common form.

False stands for anything else: broken JSON, escapes of NUL or of half a surrogate pair, numbers that are no plain
integers, names that come twice, nested values of unknown names. The reference tells what that is.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from server.compiled.bytes cimport (
    FIRST_MARKED, HIGH_BITS, MARK_BELOW, MARK_EQUAL, Text, is_utf8, put_bytes, put_utf8,
)
from server.compiled.row_writer cimport Rows, write_row
from server.compiled.rules cimport accept
from server.compiled.table cimport *

cdef enum:
    MAX_DIGITS = 18  # any such number fits 63 bits
    UNKNOWN = -1
    CODE_DIGITS = 4  # of \uXXXX
    # Halves of a pair, which stands for a character beyond U+FFFF (RFC 8259, 7).
    HIGH_SURROGATES = 0xD800
    LOW_SURROGATES = 0xDC00
    END_OF_SURROGATES = 0xE000


cdef struct Json:
    # The bytes that are still to be read: `at` up to, not including, `end`.
    const uint8_t* at
    const uint8_t* end
    # Where strings that have escapes are written without them. No escape is shorter than what it stands for, so there
    # is room for all of them in as many bytes as the body has.
    uint8_t* unescaped
    uint8_t* unescaped_end


cdef inline bint read_body(const Table* table, Json* json, Batch* batch, Rows* rows) noexcept nogil:
    """Read a whole body and append its rows; True when all of it keeps the rules, but for the project and the key."""
    cdef Text name
    cdef Value value
    cdef bint has_items = False
    if not (_take(json, c"{") and not _is_next(json, c"}")):
        return False
    while True:
        if not (_read_string(json, &name) and _take(json, c":")):
            return False
        _skip_space(json)
        if _is(name, b"requests", 8):
            if has_items or not _read_items(table, json, batch, rows):
                return False
            has_items = True
        elif not _read_value(json, &value):
            return False
        elif _is(name, b"projectId", 9):
            if batch.project_id.at != NULL or value.kind != STRING:
                return False
            batch.project_id = value.text
        elif _is(name, b"idempotencyKey", 14):
            if batch.idempotency_key.at != NULL or value.kind != STRING:
                return False
            batch.idempotency_key = value.text
        if not _take(json, c","):
            break
        _skip_space(json)
    if not _take(json, c"}"):
        return False
    _skip_space(json)
    return json.at == json.end and has_items


cdef inline bint _read_items(const Table* table, Json* json, Batch* batch, Rows* rows) noexcept nogil:
    cdef Value values[MAX_FIELDS]
    # Items mostly have their fields in one order: by a field, the one that came after it in the item before.
    cdef int successors[MAX_FIELDS + 1]
    cdef int index
    for index in range(MAX_FIELDS + 1):
        successors[index] = 0
    if not _take(json, c"["):
        return False
    while True:
        if batch.rows == table.most_items:
            return False
        if not (_read_item(table, json, values, successors) and accept(table, values) and write_row(table, values, rows)):
            return False
        batch.rows += 1
        if not _take(json, c","):
            return _take(json, c"]")


cdef inline bint _read_item(const Table* table, Json* json, Value* values, int* successors) noexcept nogil:
    cdef uint32_t seen = 0
    cdef int field = 0
    cdef int* successor = &successors[MAX_FIELDS]
    cdef Value skipped
    for field in range(table.field_count):
        values[field].kind = ABSENT
        values[field].text.size = 0
    if not _take(json, c"{"):
        return False
    while True:
        _skip_space(json)
        if not _read_name(table, json, successor[0], &field):
            return False
        if not _take(json, c":"):
            return False
        _skip_space(json)
        if field == UNKNOWN:
            if not _read_value(json, &skipped):
                return False
        else:
            successor[0] = field
            successor = &successors[field]
            if seen >> field & 1 or not _read_value(json, &values[field]) or values[field].kind == BOOLEAN:
                return False
            seen |= <uint32_t>1 << field
        if not _take(json, c","):
            return _take(json, c"}")


cdef inline bint _read_name(const Table* table, Json* json, int expected, int* field) noexcept nogil:
    """Set which field a name stands for, mostly the expected one; UNKNOWN when it is none."""
    cdef Text name = table.fields[expected].json_name
    cdef int index
    # The name and two quotes.
    if json.end - json.at >= name.size + 2 and json.at[0] == c'"' and json.at[name.size + 1] == c'"':
        if not memcmp(json.at + 1, name.at, name.size):
            json.at += name.size + 2
            field[0] = expected
            return True
    if not _read_string(json, &name):
        return False
    field[0] = UNKNOWN
    for index in range(table.field_count):
        if _is(name, table.fields[index].json_name.at, table.fields[index].json_name.size):
            field[0] = index
    return True


cdef inline bint _read_value(Json* json, Value* value) noexcept nogil:
    """Read a string, a plain integer, true, false or null."""
    value.text.size = 0
    if json.at == json.end:
        return False
    if json.at[0] == c'"':
        value.kind = STRING
        return _read_string(json, &value.text)
    if c"0" <= json.at[0] <= c"9":
        value.kind = NUMBER
        return _read_integer(json, &value.number)
    if _take_word(json, b"null", 4):
        value.kind = ABSENT
        return True
    value.kind = BOOLEAN
    return _take_word(json, b"true", 4) or _take_word(json, b"false", 5)


cdef inline bint _read_integer(Json* json, int64_t* number) noexcept nogil:
    cdef const uint8_t* first = json.at
    number[0] = 0
    while json.at < json.end and c"0" <= json.at[0] <= c"9":
        if json.at - first == MAX_DIGITS:
            return False
        number[0] = number[0] * 10 + (json.at[0] - c"0")
        json.at += 1
    # No number begins with 0 but itself. What follows, as of a fraction, fits nothing that may follow a value.
    return first[0] != c"0" or json.at - first == 1


cdef inline bint _read_string(Json* json, Text* text) noexcept nogil:
    """Read a string; it is valid UTF-8."""
    cdef uint64_t word, marks, seen = 0
    cdef const uint8_t* at = json.at
    cdef uint8_t byte
    if at == json.end or at[0] != c'"':
        return False
    at += 1
    text.at = at
    while json.end - at >= 8:
        memcpy(&word, at, 8)
        marks = MARK_EQUAL(word, c'"') | MARK_EQUAL(word, c"\\") | MARK_BELOW(word, 0x20)
        seen |= word
        if marks:
            at += FIRST_MARKED(marks)
            break
        at += 8
    while at < json.end:
        byte = at[0]
        if byte == c'"':
            text.size = at - text.at
            json.at = at + 1
            # `seen` may hold bytes after the string, which costs no more than time.
            return not seen & HIGH_BITS or is_utf8(text.at, at)
        if byte == c"\\":
            return _read_escaped(json, at, text)
        if byte < 0x20:
            return False
        seen |= byte
        at += 1
    return False


cdef inline bint _read_escaped(Json* json, const uint8_t* escape, Text* text) noexcept nogil:
    """Read a string that begins at `text.at`, from its first escape on."""
    cdef uint8_t* out = json.unescaped
    cdef const uint8_t* first = text.at
    json.at = escape
    if json.unescaped_end - out < json.end - first:
        return False
    text.at = out
    out = put_bytes(out, first, escape - first)
    while json.at < json.end and json.at[0] != c'"':
        if json.at[0] == c"\\":
            out = _put_escaped(json, out)
            if out == NULL:
                return False
        elif json.at[0] < 0x20:
            return False
        else:
            out[0] = json.at[0]
            out += 1
            json.at += 1
    text.size = out - text.at
    json.unescaped = out
    return _take(json, c'"') and is_utf8(text.at, out)


cdef inline uint8_t* _put_escaped(Json* json, uint8_t* out) noexcept nogil:
    """Write the character of an escape and return where it ends; NULL for one that the reference must look at."""
    cdef uint8_t byte
    cdef uint32_t code, low
    if json.end - json.at < 2:
        return NULL
    byte = json.at[1]
    json.at += 2
    if byte == c"u":
        if not _read_code(json, &code) or code == 0:
            return NULL
        if HIGH_SURROGATES <= code < END_OF_SURROGATES:
            if code >= LOW_SURROGATES or not _take_word(json, b"\\u", 2) or not _read_code(json, &low):
                return NULL
            if not LOW_SURROGATES <= low < END_OF_SURROGATES:
                return NULL
            code = 0x10000 + ((code - HIGH_SURROGATES) << 10) + (low - LOW_SURROGATES)
        return put_utf8(out, code)
    if byte == c"b":
        byte = 0x08
    elif byte == c"f":
        byte = 0x0C
    elif byte == c"n":
        byte = 0x0A
    elif byte == c"r":
        byte = 0x0D
    elif byte == c"t":
        byte = 0x09
    elif byte != c'"' and byte != c"\\" and byte != c"/":
        return NULL
    out[0] = byte
    return out + 1


cdef inline bint _read_code(Json* json, uint32_t* code) noexcept nogil:
    """Read four hex digits."""
    cdef uint8_t digit
    cdef int index
    if json.end - json.at < CODE_DIGITS:
        return False
    code[0] = 0
    for index in range(CODE_DIGITS):
        digit = json.at[index]
        if c"0" <= digit <= c"9":
            digit -= c"0"
        elif c"a" <= digit | 0x20 <= c"f":
            digit = (digit | 0x20) - c"a" + 10
        else:
            return False
        code[0] = code[0] << 4 | digit
    json.at += CODE_DIGITS
    return True


cdef inline void _skip_space(Json* json) noexcept nogil:
    while json.at < json.end and (
        json.at[0] == c" " or json.at[0] == c"\n" or json.at[0] == c"\r" or json.at[0] == c"\t"
    ):
        json.at += 1


cdef inline bint _is_next(Json* json, uint8_t byte) noexcept nogil:
    """Tell whether a byte comes next, after white space."""
    _skip_space(json)
    return json.at < json.end and json.at[0] == byte


cdef inline bint _take(Json* json, uint8_t byte) noexcept nogil:
    """Go past a byte, and white space before it; False when another comes."""
    if not _is_next(json, byte):
        return False
    json.at += 1
    return True


cdef inline bint _take_word(Json* json, const char* word, Py_ssize_t size) noexcept nogil:
    if json.end - json.at < size or memcmp(json.at, word, size):
        return False
    json.at += size
    return True


cdef inline bint _is(Text text, const void* other, Py_ssize_t size) noexcept nogil:
    return text.size == size and not memcmp(text.at, other, size)
