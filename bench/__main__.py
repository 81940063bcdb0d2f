"""`python -m bench`: measures the path from socket to table against floors measured in the same run.

`--server-python` measures the server of another checkout with this generator; bench.compare puts results side by side.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.different_rows import LATER_US, measure_different_rows
from bench.floors import RowCopy, decode_cpu_us, run_noop
from bench.loads import measure, measure_curve, measure_latency, measure_memory
from bench.plot import write_plot
from bench.report import Report
from bench.stand import Stand, run_stand
from bench.targets import HTTP, STREAM, UNARY, Shape, Target

FOLDER = Path(__file__).parent
PROTOCOLS = (HTTP, UNARY, STREAM)
# Rows a batch, connections.
LOADS = ((100, 1), (100, 16), (100, 64), (1, 64))
BRIEF_LOADS = LOADS[1:]
REFERENCE_LOADS = LOADS[1:3]
FIRST_LOAD = Shape(HTTP, 100, 16)


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and write them as JSON; a run that is not brief also draws throughput.svg."""
    options = _parser().parse_args(arguments)
    server_python = options.server_python.absolute()
    command = server_python.with_name("seestack-ingest")
    with run_stand(command) as stand, run_noop(stand.server.target.api_key) as noop:
        stand.load(FIRST_LOAD)
        row_copy = RowCopy(stand.server, stand.database)
        report = Report(row_copy.into_bare_table().cpu_us, decode_cpu_us(stand.batches(100)))
        measure_loads(report, stand, noop, row_copy, BRIEF_LOADS if options.brief else LOADS)
        curve = [] if options.brief else measure_curve(stand)
        report.sections["Latency of a 100-row batch over HTTP, ms"] = measure_latency(stand, noop)
        if not options.brief:
            write_plot(curve, FOLDER / "throughput.svg")
            report.sections["Peak memory, MiB"] = measure_memory(stand)
        different = measure_different_rows(stand, server_python)
        report.sections["Different rows, HTTP, 100 x 16"] = different
        report.later_us = different[LATER_US]
    if stand.server.is_compiled and not options.brief:
        measure_reference(report, command)
    report.print()
    report.write_json(options.json)


def measure_loads(
    report: Report, stand: Stand, noop: Target, row_copy: RowCopy, loads: Sequence[tuple[int, int]], encoding: str = ""
) -> None:
    """Add loads over each protocol to the report."""
    for protocol in PROTOCOLS:
        # Shared machines change their speed by the minute, so this floor is measured right before.
        copy_rate = row_copy.into_table().rows_per_second
        for rows, connections in loads:
            report.measurements.append(measure(stand, noop, Shape(protocol, rows, connections), copy_rate, encoding))


def measure_reference(report: Report, command: Path) -> None:
    """Add the same server with pure Python in place of its compiled code."""
    with run_stand(command, {"SEESTACK_COMPILED": "off"}) as stand, run_noop(stand.server.target.api_key) as noop:
        stand.load(FIRST_LOAD)
        row_copy = RowCopy(stand.server, stand.database)
        measure_loads(report, stand, noop, row_copy, REFERENCE_LOADS, "in pure Python")


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
