"""Which load generator a load gets: wrk or h2load, written in C, where the machine has them; else our own in Python.

The Python one takes up to a quarter of a processor, and is needed for streams.
"""

import shutil
from dataclasses import replace

from bench import h2load, wrk
from bench.data import Batches
from bench.load import Load, run_load
from bench.targets import HTTP, STREAM, UNARY, Shape, Target, connect

ESTIMATE_SECONDS = 0.4


def generate(target: Target, shape: Shape, batches: Batches, seconds: float) -> Load:
    """Load a server for `seconds`, as fast as it answers. Raises LoadError."""
    if shape.protocol == HTTP and shutil.which(wrk.COMMAND):
        return wrk.run(target, shape, batches, seconds)
    if shape.protocol == UNARY:
        return generate_timed(target, shape, batches, seconds)
    return run_load(connect(target, shape, batches), seconds, depth=shape.depth)


def generate_timed(
    target: Target, shape: Shape, batches: Batches, seconds: float, *, rate: float | None = None
) -> Load:
    """Load a server for `seconds`, and note how long each request took, which wrk does not.

    With a `rate` (requests/s over all connections) requests are sent at even times. Raises LoadError.
    """
    if shape.protocol == STREAM or not shutil.which(h2load.COMMAND):
        return run_load(connect(target, shape, batches), seconds, depth=shape.depth, rate=rate)
    if rate is not None:
        return h2load.run(target, shape, batches, int(rate * (h2load.STARTING_S + seconds)), rate=rate)
    # It sends a number of requests, so the rate is tried before.
    tried = run_load(connect(target, shape, batches), ESTIMATE_SECONDS)
    load = h2load.run(target, shape, batches, int(tried.rate * seconds))
    return replace(load, requests=tried.requests + load.requests)
