"""The compiled code gives the answer of the reference, byte by byte, or none."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seestack.ingest.v1 import ingest_pb2
from server.cli.sample_traffic import make_items, to_message
from server.compiled import tables
from server.compiled.encoder import make_encoder
from server.contract.fields import FIELDS, Field
from server.contract.rules import Text
from tests.both_paths import BothPaths, try_json, try_message
from tests.fuzz import json_bodies
from tests.fuzz import messages as wire
from tests.fuzz.identity import PROJECT_ID
from tests.fuzz.json_bodies import make_body
from tests.fuzz.messages import make_message
from tests.property.strategies import invalid_values, json_values, valid_items
from tests.trace_ids import spellings

if TYPE_CHECKING:
    from server.compiled.batch_encoder import BatchEncoder
else:
    BatchEncoder = pytest.importorskip("server.compiled.batch_encoder").BatchEncoder

busy_machine = settings(deadline=None)

PROJECT = UUID(PROJECT_ID)
MOMENTS = [
    "2100-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "1900-02-29T12:00:00Z", "2024-02-29T00:00:00Z",
    "2023-02-29T00:00:00Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "0001-01-01T00:00:00-00:01", "9999-12-31T23:59:59.9999999Z",
    "9999-12-31T23:59:59-00:01", "2026-04-31T00:00:00Z", "2026-12-31T24:00:00Z", "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00.1234567890123+23:59", "2026-01-01T00:00:00+24:00", "2026-01-01 00:00:00Z",
    "2026-01-01T00:00:00",
    "1969-12-31T23:59:59.999999Z", "2026-01-01T00:00:00ZZ", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
]  # fmt: skip
ENCODER = make_encoder(BatchEncoder)
TRY: dict[str, Callable[[Random], BothPaths]] = {
    "json": lambda source: try_json(ENCODER, make_body(source), PROJECT),
    "protobuf": lambda source: try_message(ENCODER, make_message(source), PROJECT),
}


def body_of(items: object, **others: object) -> bytes:
    return json.dumps({"projectId": PROJECT_ID, "requests": items, **others}, ensure_ascii=False).encode()


def message_of(items: list[dict[str, Any]]) -> bytes:
    messages = [
        to_message(item | {"timestamp": datetime.fromisoformat(item["timestamp"]).strftime("%Y-%m-%dT%H:%M:%SZ")})
        for item in items
    ]
    return ingest_pb2.IngestHttpRequestsRequest(project_id=PROJECT_ID, requests=messages).SerializeToString()


@pytest.mark.parametrize("count", [1, 2, 99, 100])
def test_usual_batches_are_answered_by_the_compiled_code(count: int) -> None:
    items = make_items(count, Random(count))
    body, message = body_of(items, idempotencyKey="a"), message_of(items)
    for paths in (try_json(ENCODER, body, PROJECT), try_message(ENCODER, message, PROJECT)):
        assert paths.compiled is not None
        assert paths.compiled[0] == count
        assert paths.agree


@busy_machine
@given(items=st.lists(valid_items, min_size=1, max_size=4), data=st.data())
def test_whatever_is_sent_as_json_is_answered_alike(items: list[dict[str, Any]], data: st.DataObject) -> None:
    assert try_json(ENCODER, body_of(items), PROJECT).agree
    item = data.draw(st.sampled_from(items))
    field = data.draw(st.sampled_from([*item, "unknown"]))
    item[field] = data.draw(json_values | invalid_values.get(field, st.none()))
    assert try_json(ENCODER, body_of(items), PROJECT).agree


@pytest.mark.parametrize("text", ["caf\u00e9", "\U0001f600", 'a"b\\c', "tab\tnew\nline\r\b\f", "\x01", "\uffff"])
def test_escapes_are_read_by_the_compiled_code(text: str) -> None:
    items = [item | {"host": f"a{text}", "userId": text, "x": text} for item in make_items(3, Random(1))]
    body = json.dumps({"projectId": PROJECT_ID, "requests": items, "idempotencyKey": text}).replace("/", r"\/").encode()
    paths = try_json(ENCODER, body, PROJECT)
    assert paths.compiled is not None
    assert paths.agree
    assert not any(try_json(ENCODER, body[:length], PROJECT).compiled for length in range(len(body)))


@pytest.mark.parametrize(
    "string", [r"\u0000", r"\ud800", r"\udc00", r"\ud83d\ud83d", r"\ud83dx", r"\u12g4", r"\x41", "\\\n", r"\U0041"]
)
def test_escapes_that_stand_for_no_text_are_left_to_the_reference(string: str) -> None:
    body = body_of([make_items(1, Random(1))[0] | {"userId": "here"}]).replace(b"here", string.encode())
    assert try_json(ENCODER, body, PROJECT) == BothPaths(None, None)


@busy_machine
@given(text=st.text(st.characters(categories=["L", "N", "Z", "C", "S"]), max_size=40), field=st.sampled_from(FIELDS))
def test_escaped_values_are_read_alike(text: str, field: Field) -> None:
    item = make_items(1, Random(1))[0] | {field.json_name: text}
    assert try_json(ENCODER, json.dumps({"projectId": PROJECT_ID, "requests": [item]}).encode(), PROJECT).agree


@busy_machine
@given(trace=st.uuids())
def test_trace_ids_are_stored_alike(trace: UUID) -> None:
    (item,) = make_items(1, Random(1))
    items = [item | {"traceId": spelling} for spelling in spellings(trace.hex)]
    attempts = [try_json(ENCODER, body_of([it]), PROJECT) for it in items if "\n" not in it["traceId"]]
    for paths in (*attempts, try_message(ENCODER, message_of(items), PROJECT)):
        assert paths.compiled is not None
        assert paths.agree


@busy_machine
@given(timestamp=st.text("0123456789-:.TZtz+ ", max_size=30) | st.datetimes().map(lambda it: it.isoformat() + "Z"))
def test_timestamps_are_read_alike(timestamp: str) -> None:
    (item,) = make_items(1, Random(1))
    assert try_json(ENCODER, body_of([item | {"timestamp": timestamp}]), PROJECT).agree


@pytest.mark.parametrize("kind", TRY)
@settings(busy_machine, max_examples=1000)
@given(seed=st.integers(0, 2**64))
def test_hostile_bytes_are_answered_alike(kind: str, seed: int) -> None:
    assert TRY[kind](Random(seed)).agree


def test_what_is_cut_off_is_left_to_the_reference() -> None:
    items = make_items(2, Random(1))
    body, message = body_of(items), message_of(items)
    assert not any(try_json(ENCODER, body[:length], PROJECT).compiled for length in range(len(body)))
    assert all(try_message(ENCODER, message[:length], PROJECT).agree for length in range(len(message)))


def test_another_project_is_left_to_the_reference() -> None:
    other = UUID(int=PROJECT.int + 1)
    items = make_items(1, Random(1))
    assert try_json(ENCODER, body_of(items), other).compiled is None
    assert try_message(ENCODER, message_of(items), other).compiled is None


def test_a_changed_rule_changes_the_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = make_items(1, Random(1))
    changed = [Field(it.name, Text(3) if it.name == "host" else it.rule, "") for it in FIELDS]
    monkeypatch.setattr(tables, "FIELDS", changed)
    encoder = make_encoder(BatchEncoder)
    assert try_json(encoder, body_of([item | {"host": "four"}]), PROJECT).compiled is None
    assert try_json(encoder, body_of([item | {"host": "abc"}]), PROJECT).compiled is not None


def test_a_rule_of_a_new_kind_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shouted(Text):
        pass

    changed = [Field(it.name, Shouted(255) if it.name == "host" else it.rule, "") for it in FIELDS]
    monkeypatch.setattr(tables, "FIELDS", changed)
    with pytest.raises(KeyError):
        make_encoder(BatchEncoder)


def odd_bodies() -> Iterator[bytes]:
    """Yield usual bodies in which one value is odd, or comes again."""
    (item,) = make_items(1, Random(1))
    members = {json.dumps(name).encode(): json.dumps(value).encode() for name, value in item.items()}
    batch = {b'"projectId"': json.dumps(PROJECT_ID).encode(), b'"requests"': b""}
    values = [*json_bodies.ODD_VALUES, *(json.dumps(moment).encode() for moment in MOMENTS)]
    for value in values:
        for name in (*members, b'"userId"', b'"unknown"', *json_bodies.ODD_KEYS):
            yield body_with(batch, {**members, name: value})
        for name in (*batch, b'"idempotencyKey"', b'"unknown"'):
            yield body_with({**batch, name: value}, members)
    for name, value in members.items():
        yield body_with(batch, members).replace(b"}]", b"," + name + b":" + value + b"}]")
    for name, value in batch.items():
        yield body_with(batch, members)[:-1] + b"," + name + b":" + (value or b"[]") + b"}"


def body_with(batch: dict[bytes, bytes], members: dict[bytes, bytes]) -> bytes:
    item = b",".join(name + b":" + value for name, value in members.items())
    return b"{" + b",".join(name + b":" + (value or b"[{" + item + b"}]") for name, value in batch.items()) + b"}"


def odd_messages() -> Iterator[bytes]:
    """Yield usual messages whose item has one more field, which is odd or comes again."""
    items = make_items(1, Random(1))
    item = to_message(items[0]).SerializeToString()
    project = wire.varint(1 << 3 | wire.LENGTH) + wire.text(PROJECT_ID)
    values = {
        wire.VARINT: wire.NUMBERS,
        wire.LENGTH: [*wire.TEXTS, *wire.TIMESTAMPS],
        wire.FIXED32: [b"1234", b"123"],
        wire.FIXED64: [b"12345678", b"1234567"],
        wire.GROUP: [b"", wire.varint(99 << 3 | wire.END_GROUP)],
    }
    for kind, odd in values.items():
        for value in odd:
            for number in (0, *range(1, 14), 16, 99, 2**29 - 1, 2**29):
                field = wire.varint(number << 3 | kind) + value
                for changed in (item + field, field + item):
                    yield project + wire.varint(2 << 3 | wire.LENGTH) + wire.text(changed)
                yield message_of(items) + field


def test_every_odd_value_in_every_field_is_answered_alike() -> None:
    assert [body for body in odd_bodies() if not try_json(ENCODER, body, PROJECT).agree] == []
    assert [message for message in odd_messages() if not try_message(ENCODER, message, PROJECT).agree] == []
