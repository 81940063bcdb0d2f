"""A way to a database on which the answer to a commit can get lost."""

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.storage.event_loop import EventLoop

SOCKET = ".s.PGSQL.5432"
_ANSWER = b"C"  # CommandComplete
_HEAD_LENGTH = 5  # a message's kind, and its length without the kind


@contextmanager
def cutting_proxy(
    loop: EventLoop, url: str, folder: Path, *, share: float = 0.0, answer: int = 1
) -> "Iterator[CuttingProxy]":
    """Run a proxy in a folder below `folder`."""
    proxy = CuttingProxy(url, folder, share=share, answer=answer)
    loop.run(proxy.start())
    try:
        yield proxy
    finally:
        loop.run(proxy.stop())


class CuttingProxy:
    """Passes connections on to the server of a database; one that answers a COPY is cut off in the answer."""

    def __init__(self, url: str, folder: Path, *, share: float, answer: int) -> None:
        """Cut in the answer of that number; `share` of it arrives: 1 is all, without the message that follows."""
        self._target = Path(str(conninfo_to_dict(url)["host"])) / SOCKET
        self._folder = folder / f"proxy-{uuid4().hex[:8]}"
        self._share = share
        self._answer = answer
        self._answers = 0
        self.url = make_conninfo(url, host=str(self._folder))
        self.cuts = 0

    async def start(self) -> None:
        """Take connections from now on."""
        self._folder.mkdir()
        self._server = await asyncio.start_unix_server(self._pass_on, self._folder / SOCKET)

    async def stop(self) -> None:
        """Take no more connections; those there are end by themselves."""
        self._server.close()
        await self._server.wait_closed()

    async def _pass_on(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._target))
        asking = asyncio.create_task(self._pass_questions(client_reader, server_writer))
        try:
            await self._pass_answers(server_reader, client_writer)
        finally:
            asking.cancel()
            for writer in (client_writer, server_writer):
                writer.close()

    async def _pass_questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (data := await reader.read(2**16)) and not writer.is_closing():
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _pass_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readexactly(_HEAD_LENGTH)
            except asyncio.IncompleteReadError:
                return
            kind, length = struct.unpack(">ci", head)
            message = head + await reader.readexactly(length - 4)
            if writer.is_closing():  # the client has left, and uvloop fails what is written to it
                return
            if kind == _ANSWER and b"COPY" in message:
                self._answers += 1
                if self._answers == self._answer:
                    self.cuts += 1
                    writer.write(message[: round(len(message) * self._share)])
                    return
            writer.write(message)
