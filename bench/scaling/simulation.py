"""A server's writer and the nodes that it writes to, in simulated time: how many batches get into a flush.

Everything about a flush depends on that, and it depends on all the rest: batches gather while the flush before commits.
The rules are those of `storage/writing/writer.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from bench.scaling.costs import Costs, NodeCosts, ServerCosts
from bench.scaling.machine import EventLoop, Machine, Thread
from storage.writing.writer import EventWriter

US = 1e-6
_BACKGROUND_S = 0.05  # after which what a second costs is done again
# Of a Postgres' work on a row, what it does later: summaries, rollups (docs/performance.md, docs/schema.md).
_LATER = 0.4
_ANSWER = 0.3  # of a server's work on a batch, what it does after the commit
_BEGIN = 0.3  # of a Postgres' work on a flush, what it does before rows come

Done = Callable[[], None]


@dataclass
class Batch:
    """A batch, the shard of its node that it is for, and what is done once it is stored."""

    shard: int
    done: Done


@dataclass(eq=False)
class Flush:
    """A COPY that is filled, over one of the two connections."""

    connection: int
    shards: dict[int, None]
    began_at: float
    max_age_s: float = EventWriter.MAX_FLUSH_AGE_S
    is_ready: bool = False
    is_check_due: bool = False
    seen: int = 0
    batches: list[Batch] = field(default_factory=list)
    unsent: int = 0


class NodeParts:
    """The threads of a Postgres that are not those of a connection."""

    def __init__(self, machine: Machine, costs: NodeCosts, hot_shards: float) -> None:
        self.costs = costs
        self.background = Thread(machine)
        self.backends: list[Thread] = []
        steady(machine, self.background, (costs.second + hot_shards * costs.hot_shard_second) * US)

    @property
    def asked(self) -> float:
        """CPU seconds of what was to be done until now; what is done later may be so still."""
        return self.background.asked + sum(backend.asked for backend in self.backends)


class Writer:
    """A writer of a server, for one node."""

    def __init__(
        self, machine: Machine, server: EventLoop, server_costs: ServerCosts, node: NodeParts, rows: int, sync_s: float
    ) -> None:
        """Batches have `rows` each; everything of the server runs in its event loop."""
        self.flushes = 0
        self.batches = 0
        self._machine, self._server, self._server_costs = machine, server, server_costs
        self._node, self._rows, self._sync_s = node, rows, sync_s
        self._backends = [Thread(machine) for _ in range(EventWriter.CONNECTIONS)]
        node.backends += self._backends
        self._is_idle = [True] * EventWriter.CONNECTIONS
        self._queue: list[Batch] = []
        self._filling: Flush | None = None
        self._committing: set[Flush] = set()
        self._expected = 0
        self._last_shards: dict[int, None] = {}

    def submit(self, batch: Batch) -> None:
        """Take a batch."""
        self._queue.append(batch)
        self._fill()

    def _fill(self) -> None:
        if not self._queue:
            return
        flush = self._filling or self._begin()
        if flush is None or not flush.is_ready:
            return
        rest = []
        for batch in self._queue:
            if batch.shard not in flush.shards:
                rest.append(batch)
                continue
            flush.batches.append(batch)
            if batch.shard == next(iter(flush.shards)):
                self._backends[flush.connection].work(self._copy_s())
            else:
                flush.unsent += 1
        self._queue = rest
        self._check_after_this_turn(flush)

    def _begin(self) -> Flush | None:
        connection = next((number for number, is_idle in enumerate(self._is_idle) if is_idle), None)
        if connection is None:
            return None
        shards = dict.fromkeys([batch.shard for batch in self._queue]) | self._last_shards
        flush = self._filling = Flush(connection, shards, self._machine.now)
        self._is_idle[connection] = False
        costs = self._node.costs
        further_us = costs.shard * (len(shards) - 1)

        def ready() -> None:
            flush.is_ready = True
            self._fill()
            self._check_after_this_turn(flush)

        begin_s = (costs.flush * _BEGIN + further_us) * US
        self._backends[connection].work(begin_s, lambda: self._server.receive(0.0, ready))
        return flush

    def _check_after_this_turn(self, flush: Flush) -> None:
        if not flush.is_check_due:
            flush.is_check_due = True
            self._server.soon(0.0, lambda: self._check(flush))

    def _check(self, flush: Flush) -> None:
        flush.is_check_due = False
        if flush is not self._filling or not flush.is_ready or self._committing:
            return
        age_s = self._machine.now - flush.began_at
        if age_s < flush.max_age_s:
            if len(flush.batches) > flush.seen:
                flush.seen = len(flush.batches)
                self._check_after_this_turn(flush)
                return
            if len(flush.batches) < self._expected:
                self._machine.after(flush.max_age_s - age_s + 1e-9, lambda: self._wake(flush))
                return
        self._end(flush)

    def _wake(self, flush: Flush) -> None:
        self._server.receive(0.0, lambda: self._check_after_this_turn(flush))

    def _end(self, flush: Flush) -> None:
        self._filling = None
        self._committing.add(flush)
        self._last_shards = dict.fromkeys(batch.shard for batch in flush.batches)
        work_s = flush.unsent * self._copy_s() + self._node.costs.flush * (1 - _BEGIN) * US

        def stored() -> None:
            self._server.receive(self._server_costs.flush * US, lambda: self._settle(flush))

        self._backends[flush.connection].work(work_s, lambda: self._machine.after(self._sync_s, stored))
        self._fill()

    def _settle(self, flush: Flush) -> None:
        self.flushes += 1
        self.batches += len(flush.batches)
        self._committing.discard(flush)
        self._is_idle[flush.connection] = True
        for batch in flush.batches:
            self._server.soon(self._server_costs.batch * _ANSWER * US, batch.done)
        self._node.background.work(len(flush.batches) * self._rows * self._node.costs.row * _LATER * US)
        self._fill()
        following = self._filling
        self._expected = len(flush.batches) + (len(following.batches) if following else 0)
        if following is not None:
            age_s = self._machine.now - following.began_at
            following.max_age_s = max(following.max_age_s, age_s + EventWriter.RETURN_S)
            self._check_after_this_turn(following)

    def _copy_s(self) -> float:
        return self._rows * self._node.costs.row * (1 - _LATER) * US


@dataclass(frozen=True)
class Outcome:
    """What was simulated; CPU in microseconds a row, of all nodes together."""

    rows_per_second: float
    batches_per_flush: float
    server_us: float
    nodes_us: float
    coordinator_us: float


def simulate_clients(
    costs: Costs, *, cores: float, nodes: int, hot_shards: int, connections: int, rows: int, sync_s: float,
    seconds: float = 1.0,
) -> Outcome:  # fmt: skip
    """Return what a server with one worker does for clients that each send the next batch after an answer.

    Everything, the clients too, runs on one machine; `nodes` is 0 for one Postgres. `rows` are those of a batch,
    `sync_s` is how long a commit waits for the disk.
    """
    machine, random = Machine(cores), Random(1)
    server_costs, node_costs = (costs.server, costs.node) if nodes else (costs.server_of_one, costs.one)
    server, main_process, generator, coordinator = (Thread(machine) for _ in range(4))
    steady(machine, main_process, server_costs.second * US)
    steady(machine, coordinator, costs.coordinator_second * US if nodes else 0.0)
    parts = [NodeParts(machine, node_costs, hot_shards / max(nodes, 1)) for _ in range(max(nodes, 1))]
    loop = EventLoop(server)
    writers = [Writer(machine, loop, server_costs, part, rows, sync_s) for part in parts]
    taking_s = (server_costs.batch * (1 - _ANSWER) + server_costs.row * rows) * US

    def send() -> None:
        shard = random.randrange(hot_shards)
        batch = Batch(shard, send)
        writer = writers[shard % len(writers)]
        generator.work(costs.generator_batch * US, lambda: loop.receive(taking_s, lambda: writer.submit(batch)))

    for _ in range(connections):
        send()
    machine.run(seconds * 0.3)
    before = _figures(writers, server, main_process, parts, coordinator)
    machine.run(seconds * 1.3)
    flushes, batches, *used = (
        late - early
        for late, early in zip(_figures(writers, server, main_process, parts, coordinator), before, strict=True)
    )
    a_row = [each / (batches * rows) * 1e6 for each in used]
    return Outcome(batches * rows / seconds, batches / flushes, *a_row)


def simulate_node(
    costs: Costs, *, cores: float, writers: int, hot_shards: int, batches_per_second: float, rows: int,
    seconds: float = 1.0,
) -> Outcome:  # fmt: skip
    """Return what a node does for the workers of many servers, each a writer, whose clients come at random.

    `batches_per_second` are those of all writers together; servers have processors of their own, and are not counted.
    """
    machine, random = Machine(cores), Random(1)
    node = NodeParts(machine, costs.node, hot_shards)
    nothing = ServerCosts(0.0, 0.0, 0.0, 0.0)
    each = [Writer(machine, EventLoop(Thread(machine)), nothing, node, rows, costs.sync_s) for _ in range(writers)]

    def arrive() -> None:
        random.choice(each).submit(Batch(random.randrange(hot_shards), lambda: None))
        machine.after(random.expovariate(batches_per_second), arrive)

    arrive()
    machine.run(seconds * 0.3)
    before = [sum(writer.flushes for writer in each), sum(writer.batches for writer in each), node.asked]
    machine.run(seconds * 1.3)
    after = [sum(writer.flushes for writer in each), sum(writer.batches for writer in each), node.asked]
    flushes, batches, used = (late - early for late, early in zip(after, before, strict=True))
    return Outcome(batches * rows / seconds, batches / flushes, 0.0, used / (batches * rows) * 1e6, 0.0)


def steady(machine: Machine, thread: Thread, of_second: float) -> None:
    """Have a thread work for a part of each second."""

    def again() -> None:
        thread.work(of_second * _BACKGROUND_S)
        machine.after(_BACKGROUND_S, again)

    if of_second:
        again()


def _figures(
    writers: list[Writer], server: Thread, main_process: Thread, parts: list[NodeParts], coordinator: Thread
) -> list[float]:
    return [
        sum(writer.flushes for writer in writers),
        sum(writer.batches for writer in writers),
        server.asked + main_process.asked,
        sum(part.asked for part in parts),
        coordinator.asked,
    ]
