"""How much of what costs the server more than the client a connection may do."""

from typing import Final

from server.http2.errors import ConnectionFault, ErrorCode


class Allowance:
    """A bucket of tokens for frames of a kind, of which a client that means well sends few."""

    def __init__(self, what: str, *, burst: int, a_second: float) -> None:
        self._what = what
        self._burst = burst
        self._rate = a_second
        self._left = float(burst)
        self._since = 0.0

    def take(self, now: float) -> None:
        """Count one. Raises ConnectionFault when there were too many."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate) - 1
        self._since = now
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {self._what}")


class PingPolicy:
    """The rule of gRPC's own servers: pings may come every ten seconds, more often only while answers are sent."""

    INTERVAL_S: Final = 10.0
    STRIKES: Final = 2

    def __init__(self) -> None:
        self._allowed_from = 0.0
        self._strikes = 0

    def reset(self) -> None:
        """Note that something was sent: pings may measure it."""
        self._allowed_from = 0.0
        self._strikes = 0

    def take(self, now: float) -> None:
        """Count a ping. Raises ConnectionFault, worded as clients of gRPC know it."""
        if now < self._allowed_from:
            self._strikes += 1
            if self._strikes > self.STRIKES:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self._allowed_from = now + self.INTERVAL_S
