"""The compiled code gives the answer of the reference, byte by byte, or none."""

import json
from collections.abc import Callable
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
