"""A worker that does not stop when it is asked to."""

import signal
import threading

from server.processes import worker_process
from server.processes.worker import Worker

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker_process.STOP_MARGIN_S = 0.1
    Worker.from_command_line().report_ready()
    threading.Event().wait()
