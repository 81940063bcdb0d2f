"""Every way a request can be wrong over HTTP gets the error envelope, and stores nothing."""

import gzip
import http.client
import json
import zlib

import pytest

from tests.batches import make_batch, make_item
from tests.contract.envelope import assert_envelope
from tests.patience import PATIENCE_S
from tests.running_server import INGEST_PATH, Answer, RunningServer

LIMIT = 2**20
NOT_JSON = (400, "MALFORMED_REQUEST", "Request body is not valid JSON")
TOO_LARGE = (413, "PAYLOAD_TOO_LARGE", f"Request body exceeds {LIMIT} bytes")

# What is sent, and where it stops being JSON.
MALFORMED = {
    "empty": (b"", "line 1, column 1"),
    "blank": (b"  \n", "line 2, column 1"),
    "text": (b"hello", "line 1, column 1"),
    "cut off": (b'{"projectId": "x", "requests": [{"traceId"', "line 1, column 43"),
    "cut off in a string": (b'{"projectId":\n "x', "line 2, column 2"),
    "number that is too large, and no number": (b'{"requests": [1e999.5.]}', "line 1, column 15"),
    "trailing comma": (b'{"requests": [],}', "line 1, column 17"),
    "trailing text": (b"{} {}", "line 1, column 4"),
    "single quotes": (b"{'requests': []}", "line 1, column 2"),
    "no colon": (b'{\r\n  "requests" []}', "line 2, column 14"),
    "byte order mark": (b"\xef\xbb\xbf{}", "line 1, column 1"),
    "UTF-16": ('{"requests": []}'.encode("utf-16"), "line 1, column 1"),
    "invalid UTF-8": (b'{"projectId": "\xff"}', "line 1, column 16"),
    "invalid UTF-8 in an unknown field": ('{"é":\n"é'.encode() + b'\xff"}', "line 2, column 3"),
    "surrogates in UTF-8": (b'{"projectId": "\xed\xa0\x80"}', "line 1, column 16"),
    "lone surrogate": (b'{"projectId": "\\ud800"}', "line 1, column 16"),
    "lone surrogate in an item": (b'{"requests": [{"host": "\\udc00x"}]}', "line 1, column 25"),
    "lone surrogate in an unknown field": (b'{"unknown": "\\ud83d\\ude00 \\\\ud800 \\ud800"}', "line 1, column 35"),
    "raw control character": (b'{"projectId": "a\x00b"}', "line 1, column 17"),
    "unknown escape": ('{"é": "\\q"}'.encode(), "line 1, column 8"),
    "NaN": (b'{"requests": [{"durationMs": NaN}]}', "line 1, column 30"),
    "Infinity": (b'{"requests": [\n{"durationMs": Infinity}]}', "line 2, column 16"),
    "half a word": (b'{"requests": tru}', "line 1, column 14"),
    "leading zero": (b'{"requests": [{"durationMs": 01}]}', "line 1, column 31"),
    "number out of range": ('{"é": 1,\n"requests": [{"durationMs": 1e400}]}'.encode(), "line 2, column 29"),
}
# How deep is too deep depends on the decoder's stack.
NESTED = {
    "deep arrays": b"[" * 100_000,
    "deep arrays in an unknown field": b'{"unknown": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000,
}


def item_with(field: str, json_value: bytes, project_id: str) -> bytes:
    """Return a batch of one valid item, but for a field with a value that Python cannot write."""
    item = json.dumps(make_item(**{field: "VALUE"})).encode().replace(b'"VALUE"', json_value)
    return b'{"projectId": "%s", "requests": [%s]}' % (project_id.encode(), item)


@pytest.mark.parametrize(("body", "position"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_json_is_a_400_that_says_where(server: RunningServer, body: bytes, position: str) -> None:
    assert_envelope(server.post(body), *NOT_JSON, {"body": position})


def test_the_position_is_that_of_the_unpacked_text(server: RunningServer) -> None:
    packed = gzip.compress(b'{\n"requests": [1,, 2]}')
    assert_envelope(server.post(packed, Content_Encoding="gzip"), *NOT_JSON, {"body": "line 2, column 16"})


@pytest.mark.parametrize("body", NESTED.values(), ids=NESTED)
def test_json_that_is_nested_too_deep_is_a_400_that_says_where(server: RunningServer, body: bytes) -> None:
    answer = server.post(body)
    position = answer.json["error"]["details"]["body"]
    assert_envelope(answer, *NOT_JSON, {"body": position})
    column = int(position.removeprefix("line 1, column "))
    assert 400 < column < 6_000
    assert body[column - 1 : column] in (b"[", b"{")


@pytest.mark.parametrize("body", [b"[]", b"[{}]", b"null", b"5", b'"text"', b"true"])
def test_json_that_is_no_object_is_a_422(server: RunningServer, body: bytes) -> None:
    details = {"body": "must be an object"}
    assert_envelope(server.post(body), 422, "VALIDATION_ERROR", "Validation failed", details)


@pytest.mark.parametrize("field", ["statusCode", "durationMs", "requestSize", "responseSize"])
@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" * 5000, b"1" * 30, b"1e308"])
def test_huge_numbers_are_refused(server: RunningServer, field: str, number: bytes) -> None:
    answer = server.post(item_with(field, number, server.project_id))
    assert answer.status in (400, 422)
    assert answer.json["error"]["code"] in ("MALFORMED_REQUEST", "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ingest",
        "/ingest/v1/http-requests/",
        "/a%00b",
        "/ingest/v2/http-requests",
        "/INGEST/v1/http-requests",
        "/%ff",
        "/ingest/../etc",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_a_404(server: RunningServer, method: str, path: str) -> None:
    assert_envelope(server.request(method, path, b"" if method == "POST" else None), 404, "NOT_FOUND", "Not found")


@pytest.mark.parametrize(("method", "path", "allowed"), [
    *((method, INGEST_PATH, {"POST", "OPTIONS"}) for method in ("GET", "PUT", "PATCH", "DELETE", "TRACE", "BREW")),
    *(("POST", path, {"GET", "HEAD", "OPTIONS"}) for path in ("/healthz", "/readyz", "/openapi.json", "/docs")),
])  # fmt: skip
def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    server: RunningServer, method: str, path: str, allowed: set[str]
) -> None:
    answer = server.request(method, path)
    assert_envelope(answer, 405, "METHOD_NOT_ALLOWED", "Method not allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_head_on_the_endpoint_is_a_405_without_a_body(server: RunningServer) -> None:
    answer = server.request("HEAD", INGEST_PATH)
    assert (answer.status, answer.body) == (405, b"")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "application/jsonx",
        "application/vnd.api+json",
        "*/*",
    ],
)
def test_another_media_type_is_a_415(server: RunningServer, media_type: str) -> None:
    answer = server.post(make_batch(server.project_id), Content_Type=media_type)
    assert_envelope(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_json_with_parameters_is_fine(server: RunningServer, media_type: str) -> None:
    assert server.post(make_batch(server.project_id), Content_Type=media_type).status == 202


def test_another_content_encoding_is_a_415(server: RunningServer) -> None:
    answer = server.post(make_batch(server.project_id), Content_Encoding="br")
    assert_envelope(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding must be gzip or absent")


@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT, 10 * LIMIT])
def test_a_large_body_is_a_413(server: RunningServer, size: int) -> None:
    assert_envelope(server.post(b" " * size), *TOO_LARGE)


def test_a_body_of_just_the_limit_is_read(server: RunningServer) -> None:
    body = json.dumps(make_batch(server.project_id)).encode()
    assert server.post(body + b" " * (LIMIT - len(body))).status == 202


@pytest.mark.parametrize("size", [10, LIMIT + 1, 3 * LIMIT])
def test_a_chunked_body_is_read_within_the_limit(server: RunningServer, size: int) -> None:
    body = json.dumps(make_batch(server.project_id)).encode()
    body += b" " * max(0, size - len(body))
    chunks = (body[start : start + 10_000] for start in range(0, len(body), 10_000))
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
    headers = {"Content-Type": "application/json", "X-SeeStack-Key": server.api_key}
    connection.request("POST", INGEST_PATH, chunks, headers, encode_chunked=True)
    response = connection.getresponse()
    names = {name.lower(): value for name, value in response.getheaders()}
    answer = Answer(response.status, names, response.read())
    connection.close()
    if size <= LIMIT:
        assert answer.status == 202
    else:
        assert_envelope(answer, *TOO_LARGE)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_gzip_is_unpacked(server: RunningServer, encoding: str) -> None:
    body = make_batch(server.project_id, 100)
    packed = gzip.compress(json.dumps(body).encode())
    assert server.post(packed, Content_Encoding=encoding).json == {"ok": True, "accepted": 100}


def test_gzip_of_several_members_is_unpacked(server: RunningServer) -> None:
    body = json.dumps(make_batch(server.project_id)).encode()
    packed = gzip.compress(body[:50]) + gzip.compress(body[50:])
    assert server.post(packed, Content_Encoding="gzip").status == 202


@pytest.mark.parametrize("unpacked", [LIMIT + 1, 500 * LIMIT])
def test_a_gzip_bomb_is_a_413(server: RunningServer, unpacked: int) -> None:
    packer = zlib.compressobj(9, wbits=31)
    zeros = b"\0" * LIMIT
    chunks = [packer.compress(zeros) for _ in range(unpacked // LIMIT)]
    packed = b"".join([*chunks, packer.compress(b"\0"), packer.flush()])
    assert len(packed) < LIMIT
    assert_envelope(server.post(packed, Content_Encoding="gzip"), *TOO_LARGE)


REPEATED = gzip.compress(b"{}" * 100, mtime=0)
ONCE = gzip.compress(b"{}", mtime=0)


@pytest.mark.parametrize("packed", [b"{}", b"\x1f\x8b", REPEATED[:-9], ONCE + b"x"])
def test_broken_gzip_is_a_400(server: RunningServer, packed: bytes) -> None:
    assert_envelope(
        server.post(packed, Content_Encoding="gzip"), 400, "MALFORMED_REQUEST", "Request body is not valid gzip"
    )


def test_a_refused_request_leaves_the_connection_usable(server: RunningServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
    for headers, status in (({}, 401), ({"X-SeeStack-Key": server.api_key, "Content-Type": "application/json"}, 202)):
        connection.request("POST", INGEST_PATH, json.dumps(make_batch(server.project_id)).encode(), headers)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_expect_continue_is_answered_before_the_body_is_sent(server: RunningServer) -> None:
    body = json.dumps(make_batch(server.project_id)).encode()
    head = (
        f"POST {INGEST_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-SeeStack-Key: {server.api_key}"
        f"\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
    connection.connect()
    connection.sock.sendall(head.encode())
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
    connection.sock.sendall(body)
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 202 ")
    connection.close()


def test_expect_continue_of_a_refused_request_gets_the_refusal_at_once(server: RunningServer) -> None:
    head = f"POST {INGEST_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
    connection.connect()
    connection.sock.sendall(head.encode())
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 401 ")
    connection.close()
