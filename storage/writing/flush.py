"""A COPY that is being filled with batches."""

import time
from collections.abc import Iterable

from storage.writing.copier import Copier
from storage.writing.destination import Target
from storage.writing.flush_report import FlushReport
from storage.writing.row_encoding import COPY_TRAILER, copy_data
from storage.writing.submission import Submission


class Flush:
    """A COPY and the batches in it. Those for its first target are sent as they come, others at the end."""

    def __init__(self, copier: Copier, targets: Iterable[Target], max_age_s: float) -> None:
        self.copier = copier
        self.target, *others = targets
        self.others: dict[Target, list[bytes]] = {target: [] for target in others}
        self.submissions: list[Submission] = []
        self.size_bytes = 0
        self.began_at = time.monotonic()
        self.seen = 0  # how many batches it had when it was last looked at
        self.is_check_due = False
        self.timed_ages_s: set[float] = set()  # at which it is looked at again

        self.least_age_s = 0.0
        self.max_age_s = max_age_s  # at which it is not filled further

    @property
    def age_s(self) -> float:
        """For how long it has been filled."""
        return max(self.least_age_s, time.monotonic() - self.began_at)

    def report(self, *, is_stored: bool) -> FlushReport:
        """Return what became of it."""
        rows = sum(submission.batch.rows for submission in self.submissions)
        duration_s = time.monotonic() - self.began_at
        return FlushReport(rows, self.size_bytes, duration_s, is_stored, self.copier.transaction_id, self.submissions)

    def add(self, submission: Submission) -> bool:
        """Add a batch, and tell whether it could be."""
        if submission.target is self.target:
            self.copier.add(submission.batch.data)
        elif (rows := self.others.get(submission.target)) is not None:  # type: ignore[arg-type]
            rows.append(submission.batch.data)
        else:
            return False
        self.submissions.append(submission)
        self.size_bytes += len(submission.batch.data)
        return True

    def end(self) -> None:
        """Have everything committed."""
        self.copier.add(COPY_TRAILER)
        self.copier.end(map(copy_data, self.others.values()))
