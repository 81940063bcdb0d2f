"""A worker that counts a row, says that a batch waits, and dies; the supervisor starts it by this module's name."""

import os
import signal

from server.observability.metrics import Protocol
from server.processes.worker import Worker

if __name__ == "__main__":
    worker = Worker.from_command_line()
    worker.metrics.count_rows(Protocol.HTTP, 1)
    worker.metrics.set_write_queue(1, 1)
    worker.report_ready()
    os.kill(os.getpid(), signal.SIGKILL)
