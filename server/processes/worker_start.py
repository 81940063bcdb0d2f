"""`python -m server.processes.worker_start MODULE ARGUMENT...` runs a worker's module as `python -m MODULE` would.

Logging is set up first, so that an error in what the module imports is a log line, too.
"""

import gc
import runpy
import sys


def main() -> None:
    """Run the module of the command line with garbage collection off, which `Worker.report_ready` turns on."""
    # What imports make stays: to look for garbage among it would be a tenth of the start.
    gc.disable()
    from server.observability.log import LogLevel, configure_logging

    configure_logging(LogLevel.INFO)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
