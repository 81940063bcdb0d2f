"""Requests as they arrive, as server-sent events (HTML Standard, 9.2) whose data are rows of a table."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from flask import current_app

from http_bridge.http1.greenlets import wait
from http_bridge.pages.asking import TAIL, call_of, read_whole
from http_bridge.pages.sessions import session_check
from server.errors import IngestError
from server.query.answers import Item
from server.query.relay.client import QueryRelay, Reply

# Of more at once nobody reads each; those before them are counted.
MOST_AT_ONCE: Final = 50
# Without requests something is sent, or nobody would notice that the browser has gone.
SILENCE_S: Final = 10.0
CHECK_S: Final = 2.0  # after which the session is looked at again


def follow(relay: QueryRelay, filters: Mapping[str, str]) -> Iterator[bytes]:
    """Follow requests from now on, and return the events about them. Raises IngestError."""
    reply = wait(relay.ask(call_of(TAIL.method, {**filters, "limit": MOST_AT_ONCE})))
    if "Content-Type" not in reply.headers:  # it is refused, and says why at once
        wait(read_whole(reply))
    # Later parts of an answer have no context of Flask.
    template = current_app.jinja_env.get_template("live_rows.html")
    return _events(reply, lambda items: template.render(items=items), session_check())


def _events(reply: Reply, render: Callable[[Sequence[Item]], str], goes_on: Callable[[], bool]) -> Iterator[bytes]:
    loop = asyncio.get_running_loop()
    reading = loop.create_task(reply.read())
    said_at = checked_at = loop.time()
    try:
        yield b": following\n\n"
        while True:
            wait(asyncio.wait({reading}, timeout=CHECK_S))
            if loop.time() - checked_at >= CHECK_S:
                if not goes_on():
                    return
                checked_at = loop.time()
            if not reading.done():
                if loop.time() - said_at >= SILENCE_S:
                    yield b": nothing yet\n\n"
                    said_at = loop.time()
                continue
            message = reading.result()
            if message is None:
                return
            reading = loop.create_task(reply.read())
            arrived = TAIL.decode(message)
            data = {"html": render(arrived.items), "count": len(arrived.items), "dropped": arrived.dropped}
            yield b"data: %b\n\n" % msgspec.json.encode(data)
            said_at = loop.time()
    except (IngestError, OSError):
        return  # the browser asks again, and is told why
    finally:
        reading.cancel()
        reply.close()
