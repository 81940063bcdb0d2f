"""Sums over the rows of a group, which add up whatever they were read from."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Sums:
    """Sums over the rows of a group; milliseconds and bytes."""

    requests: int = 0
    failed: int = 0
    slow: int = 0
    inbound: int = 0
    duration_ms: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    buckets: dict[int, int] = field(default_factory=dict)  # requests by the bucket of their duration

    @property
    def figures(self) -> tuple[int, int, int, int, int, int, int]:
        """All fields but the buckets, in their order."""
        return (
            self.requests, self.failed, self.slow, self.inbound,
            self.duration_ms, self.request_bytes, self.response_bytes,
        )  # fmt: skip

    def add(self, other: "Sums") -> None:
        """Add what another part says of the same group."""
        self.requests += other.requests
        self.failed += other.failed
        self.slow += other.slow
        self.inbound += other.inbound
        self.duration_ms += other.duration_ms
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes
        for bucket, requests in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + requests
