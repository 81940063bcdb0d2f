"""`python -m bench`: measures the path from socket to table against floors measured in the same run.

`--server-python` measures the server of another checkout with this generator; bench.compare puts results side by side.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.disk import measure_bytes
from bench.floors import RowCopy, decode_cpu_us, run_noop
from bench.loads import measure, measure_curve, measure_latency, measure_memory
from bench.plot import write_plot
from bench.report import Report
from bench.stand import run_stand
from bench.targets import HTTP, STREAM, UNARY, Shape

FOLDER = Path(__file__).parent
PROTOCOLS = (HTTP, UNARY, STREAM)
# Rows a batch, connections.
LOADS = ((100, 1), (100, 16), (100, 64), (1, 64))
BRIEF_LOADS = LOADS[1:]


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and write them as JSON; a run that is not brief also draws throughput.svg."""
    options = _parser().parse_args(arguments)
    with (
        run_stand(options.server_python.with_name("seestack-ingest")) as stand,
        run_noop(stand.server.target.api_key) as noop,
    ):
        stand.load(Shape(HTTP, 100, 16))
        row_copy = RowCopy(stand.server, stand.database)
        report = Report(row_copy.into_bare_table().cpu_us, decode_cpu_us(stand.batches(100)))
        for protocol in PROTOCOLS:
            # Shared machines change their speed by the minute, so this floor is measured right before.
            copy_rate = row_copy.into_table().rows_per_second
            for rows, connections in BRIEF_LOADS if options.brief else LOADS:
                report.measurements.append(measure(stand, noop, Shape(protocol, rows, connections), copy_rate))
        most_rows = max(item.rows_per_second for item in report.measurements if item.shape.protocol == HTTP)
        if not options.brief:
            curve = measure_curve(stand)
            write_plot(curve, FOLDER / "throughput.svg")
            most_rows = max(most_rows, *(point["rows_per_second"] for point in curve))
        report.sections["Latency of a 100-row batch over HTTP, ms"] = measure_latency(stand, noop, most_rows)
        if not options.brief:
            report.sections["Peak memory, MiB"] = measure_memory(stand)
        report.sections["On disk, bytes a row"] = measure_bytes(stand)
    report.print()
    report.write_json(options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--brief", action="store_true", help="only what comparing two commits needs, a minute and a half"
    )
    parser.add_argument("--json", type=Path, default=FOLDER / "results.json", help="file for the figures")
    parser.add_argument(
        "--server-python",
        type=Path,
        default=Path(sys.executable),
        help="interpreter of the checkout whose server is measured, e.g. ../before/.venv/bin/python",
    )
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
