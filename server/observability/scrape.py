"""Reading the server's own metrics, as Prometheus would: for a person who looks at the health page."""

from collections.abc import Iterable
from urllib.request import ProxyHandler, build_opener

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from server.observability.metrics import PREFIX

TIMEOUT_S = 3.0

# The address is this machine's own, whatever proxy is set for others.
_open = build_opener(ProxyHandler({})).open


class Figures:
    """What a scrape gave."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples = [sample for family in families for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all children with these labels; 0 when there are none."""
        return sum(self._values(name, labels))

    def find(self, name: str, **labels: str) -> float | None:
        """Return the sum as `total` does, None when there is no such metric now."""
        values = self._values(name, labels)
        return sum(values) if values else None

    def by(self, label: str, name: str) -> dict[str, float]:
        """Return the sums of a metric by one of its labels."""
        sums: dict[str, float] = {}
        for sample in self._samples:
            if sample.name == PREFIX + name:
                sums[sample.labels[label]] = sums.get(sample.labels[label], 0.0) + sample.value
        return sums

    def mean(self, name: str) -> float | None:
        """Return the mean of a histogram's values, None when it has none."""
        count = self.total(f"{name}_count")
        return self.total(f"{name}_sum") / count if count else None

    def bound(self, name: str, quantile: float) -> float | None:
        """Return the least bound of a histogram's buckets that this share of its values is within.

        None when there are no values, or when that is no bound.
        """
        counts = {float(bound): count for bound, count in self.by("le", f"{name}_bucket").items()}
        most = max(counts.values(), default=0.0)
        found = next((bound for bound, count in sorted(counts.items()) if most and count >= quantile * most), None)
        return None if found == float("inf") else found

    def _values(self, name: str, labels: dict[str, str]) -> list[float]:
        return [
            sample.value
            for sample in self._samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        ]


def read_metrics(address: str) -> Figures:
    """Return what the metrics endpoint at "host:port" says now. Blocks; raises OSError and ValueError."""
    with _open(f"http://{address}/metrics", timeout=TIMEOUT_S) as answer:
        return Figures(text_string_to_metric_families(answer.read().decode()))
