"""The choice between compiled code and reference for sums over rows."""

import math
from collections.abc import Callable
from contextlib import suppress

from server.compiled.encoder import is_chosen
from server.settings import Compiled
from storage.rollups.aggregation import Aggregator, ReferenceAggregator
from storage.rollups.groups import MINUTE_US, SLOW_MS, GroupSums, RowGroup
from storage.sketch import GAMMA

with suppress(ImportError):  # it is not built where there is no C compiler
    from server.compiled.row_aggregator import RowAggregator


def make_compiled_aggregator() -> Aggregator:
    """Return an aggregator in compiled code, which must be built."""
    return RowAggregator(
        minute_us=MINUTE_US,
        slow_ms=SLOW_MS,
        ln_gamma=math.log(GAMMA),
        make_group=RowGroup,
        make_sums=GroupSums,
    )


def choose_aggregator(setting: Compiled) -> Callable[[], Aggregator]:
    """Return what makes aggregators: in compiled code when it is built and wanted."""
    return make_compiled_aggregator if is_chosen(setting) else ReferenceAggregator
