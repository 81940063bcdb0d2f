"""Gives free memory back to the system. malloc itself does so only with what is free at the end of its heap."""

import ctypes
import time

INTERVAL_S = 10.0


def give_back_regularly() -> None:
    """Never return, unless the C library has no malloc_trim: it is glibc's own, and takes about a millisecond."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        time.sleep(INTERVAL_S)
        trim(0)
