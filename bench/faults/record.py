"""What the clients of a load remember: which batches were acknowledged, and what else they were told."""

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto

HTTP = "HTTP"
UNARY = "gRPC"
STREAM = "gRPC stream"
PROTOCOLS = (HTTP, UNARY, STREAM)


class Outcome(Enum):
    """What a client was told of a batch."""

    ACKNOWLEDGED = auto()
    REFUSED = auto()  # 503 or UNAVAILABLE, by the server
    UNANSWERED = auto()  # the connection was refused or lost
    WRONG = auto()  # any other answer


@dataclass
class Record:
    """The outcomes of all batches of a load. Times are of the system's monotonic clock, in seconds."""

    acknowledged: dict[str, dict[str, float]] = field(default_factory=lambda: {name: {} for name in PROTOCOLS})
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    wrong_answers: Counter[str] = field(default_factory=Counter)
    longest_wait_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PROTOCOLS, 0.0))
    waits: list[tuple[float, float]] = field(default_factory=list)  # when a batch was acknowledged, and after how long
    began_at: float = field(default_factory=time.monotonic)
    ended_at: float = 0.0

    def note(self, protocol: str, trace: str, outcome: Outcome, sent_at: float) -> None:
        """Remember what became of a batch, now."""
        now = time.monotonic()
        self.outcomes[outcome] += 1
        self.longest_wait_s[protocol] = max(self.longest_wait_s[protocol], now - sent_at)
        if outcome is Outcome.ACKNOWLEDGED:
            self.acknowledged[protocol][trace] = now
            self.waits.append((now, now - sent_at))

    @property
    def all_acknowledged(self) -> set[str]:
        """The trace ids of all acknowledged batches."""
        return {trace for traces in self.acknowledged.values() for trace in traces}

    @property
    def rate(self) -> float:
        """Batches sent per second."""
        return self.outcomes.total() / (self.ended_at - self.began_at)

    def acknowledged_between(self, start: float, end: float) -> int:
        """Return how many batches were acknowledged in a span of time."""
        return sum(start <= at < end for traces in self.acknowledged.values() for at in traces.values())

    def wait_s(self, share: float, start: float, end: float) -> float:
        """Return within how many seconds a share of the batches of a span of time was acknowledged."""
        waits = sorted(wait for at, wait in self.waits if start <= at < end)
        return waits[min(len(waits) - 1, int(share * len(waits)))] if waits else float("inf")

    def first_acknowledged_after(self, moment: float) -> float | None:
        """Return when every protocol had a batch acknowledged after `moment`; None when one had not."""
        firsts = [
            min((at for at in self.acknowledged[name].values() if at > moment), default=None) for name in PROTOCOLS
        ]
        return None if None in firsts else max(at for at in firsts if at is not None)
