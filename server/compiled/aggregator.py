"""The choice between compiled code and reference for sums over rows."""

import math
from contextlib import suppress

from server.compiled.encoder import is_chosen
from server.settings import Compiled
from storage.reading import totals
from storage.reading.sums import Sums
from storage.reading.totals import Adding, Totals
from storage.rollups.aggregation import END_SIZE, SUMMED_COLUMNS, Aggregator, Portion
from storage.rollups.groups import SLOW_MS, DayName, Span, Stored
from storage.rollups.summing import REFERENCE, Summing
from storage.sketch import GAMMA
from storage.writing.http_requests import HTTP_REQUESTS, LONG_PREFIX

with suppress(ImportError):  # it is not built where there is no C compiler
    from server.compiled.group_pool import merge
    from server.compiled.row_aggregator import RowAggregator
    from server.compiled.row_totals import RowTotals


def make_compiled_aggregator() -> Aggregator:
    """Return an aggregator in compiled code, which must be built."""
    return RowAggregator(
        lengths_us=tuple(span.length_us for span in Span),
        slow_ms=SLOW_MS,
        ln_gamma=math.log(GAMMA),
        end_size=END_SIZE,
        roles=bytes(map(_role_of, (name for name, _ in HTTP_REQUESTS.form.columns))),
        make_portion=Portion,
        make_name=DayName,
        make_stored=Stored,
    )


def _role_of(column: str) -> int:
    """Return which of SUMMED_COLUMNS a column has values of, from 1 on; 0 for none."""
    name = column.removeprefix(LONG_PREFIX)
    return SUMMED_COLUMNS.index(name) + 1 if name in SUMMED_COLUMNS else 0


def make_compiled_totals(kinds: int) -> Totals:
    """Return totals in compiled code, which must be built."""
    return RowTotals(kinds, make_sums=Sums)


def choose_summing(setting: Compiled) -> Summing:
    """Return what sums up rows: in compiled code when it is built and wanted."""
    return Summing(make_compiled_aggregator, merge) if is_chosen(setting) else REFERENCE


def choose_adding(setting: Compiled) -> Adding:
    """Return what adds up for answers: in compiled code when it is built and wanted."""
    return Adding(make_compiled_aggregator, make_compiled_totals) if is_chosen(setting) else totals.REFERENCE
