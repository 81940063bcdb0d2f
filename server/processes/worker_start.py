"""`python -m server.processes.worker_start MODULE ARGUMENT...` runs a worker's module as `python -m MODULE` would.

Logging is set up first, so that an error in what the module imports is a log line, too.
"""

import runpy
import sys

from server.observability.log import LogLevel, configure_logging

if __name__ == "__main__":
    configure_logging(LogLevel.INFO)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
