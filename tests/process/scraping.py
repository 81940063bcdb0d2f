"""Reading a server's metrics as Prometheus does."""

import http.client
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.log_lines import find_serving, port_in
from tests.patience import PATIENCE_S
from tests.running_server import Answer, RunningServer


@dataclass(frozen=True)
class Samples:
    """The values of one scrape, by name and labels."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def get(self, name: str, **labels: str) -> float:
        """Return the value of a sample, which must be there; names go without their prefix."""
        return self.values[f"seestack_{name}", frozenset(labels.items())]

    def __sub__(self, earlier: "Samples") -> dict[str, float]:
        """Return what has changed since an earlier scrape, by name and label values."""
        return {
            " ".join([name.removeprefix("seestack_"), *sorted(value for _, value in labels)]): value - before
            for (name, labels), value in self.values.items()
            if value != (before := earlier.values.get((name, labels), 0.0))
        }


def get_page(server: RunningServer, path: str = "/metrics") -> Answer:
    """Ask the port that the log names."""
    serving = find_serving(server.log.read_text())
    assert serving
    connection = http.client.HTTPConnection("127.0.0.1", port_in(serving["metrics"]), timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def scrape(server: RunningServer) -> Samples:
    """Return all metrics as they are now."""
    page = get_page(server)
    assert page.status == 200
    samples = [sample for family in text_string_to_metric_families(page.body.decode()) for sample in family.samples]
    values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(values) == len(samples)
    return Samples(values)
