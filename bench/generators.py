"""Which load generator a load gets: wrk or h2load, written in C, where the machine has them; else our own in Python.

The Python one takes up to a quarter of a processor, and is needed for streams and for loads at a given rate.
"""

import shutil
from dataclasses import replace

from bench import h2load, wrk
from bench.data import Batches
from bench.load import Load, run_load
from bench.targets import HTTP, UNARY, Shape, Target, connect

ESTIMATE_SECONDS = 0.4


def generate(target: Target, shape: Shape, batches: Batches, seconds: float) -> Load:
    """Load a server for `seconds`, as fast as it answers. Raises LoadError."""
    if shape.protocol == HTTP and shutil.which(wrk.COMMAND):
        return wrk.run(target, shape, batches, seconds)
    if shape.protocol == UNARY and shutil.which(h2load.COMMAND):
        # It sends a number of requests, so the rate is tried before.
        tried = run_load(connect(target, shape, batches), ESTIMATE_SECONDS)
        load = h2load.run(target, shape, batches, int(tried.rate * seconds))
        return replace(load, requests=tried.requests + load.requests)
    return run_load(connect(target, shape, batches), seconds, depth=shape.depth)
