"""The file of buckets, between processes."""

import subprocess
import sys
import time
from uuid import UUID, uuid4

from server.access.token_buckets import Bucket, Buckets, create_buckets_file
from storage.keys.limits import RateLimit
from tests.patience import PATIENCE_S

SLOW = 0.001
PROCESSES = 4

TAKE_OFTEN = """
import sys
from uuid import UUID
from server.access.token_buckets import Bucket, Buckets
from storage.keys.limits import RateLimit

file, times, burst, *keys = sys.argv[1:]
buckets = Buckets(int(file))
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
for key in keys:
    limit = RateLimit(0.001, int(burst))
    print(sum(not buckets.take(UUID(key), Bucket.ROWS, limit, 1).delay_ns for _ in range(int(times))))
"""
LOCK_ALL = """
import fcntl, sys, time
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


def start(script: str, file: int, *arguments: object) -> "subprocess.Popen[str]":
    """Run a script that inherits the file, and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(file), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(file,),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def let_go(process: "subprocess.Popen[str]") -> None:
    """Let a process begin to take."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def take(buckets: Buckets, key: UUID, bucket: Bucket = Bucket.ROWS, burst: int = 1) -> bool:
    return not buckets.take(key, bucket, RateLimit(SLOW, burst), 1).delay_ns


def test_processes_that_take_at_once_get_a_burst_together_and_no_more() -> None:
    burst = 3000
    keys = [uuid4() for _ in range(3)]
    file = create_buckets_file()
    processes = [start(TAKE_OFTEN, file, 1000, burst, *keys) for _ in range(PROCESSES)]
    for process in processes:
        let_go(process)
    taken = [list(map(int, process.communicate(timeout=PATIENCE_S)[0].split())) for process in processes]
    assert [sum(of_key) for of_key in zip(*taken, strict=True)] == [burst] * len(keys)


def test_each_key_has_buckets_of_its_own_in_every_process() -> None:
    file = create_buckets_file()
    one, other = Buckets(file), Buckets(file)
    keys = [uuid4() for _ in range(100)]
    for key in keys:
        assert take(one, key)
        assert take(one, key, Bucket.REQUESTS)
    for key in reversed(keys):
        assert not take(other, key)
        assert not take(other, key, Bucket.REQUESTS)
    new = uuid4()
    assert take(other, new)
    assert not take(one, new)


def test_a_bucket_fills_by_a_new_limit_from_the_first_attempt_on() -> None:
    buckets = Buckets(create_buckets_file())
    key = uuid4()
    slow, fast = RateLimit(SLOW, 1000), RateLimit(100.0, 1)
    assert buckets.take(key, Bucket.ROWS, slow, 1000).full_in_ns > 0
    refused = buckets.take(key, Bucket.ROWS, fast, 1)
    assert 0 < refused.delay_ns <= 10_000_000
    time.sleep(refused.delay_ns / 1e9)
    assert not buckets.take(key, Bucket.ROWS, fast, 1).delay_ns


def test_a_process_that_is_killed_with_a_lock_stands_in_nobodys_way() -> None:
    file = create_buckets_file()
    key = uuid4()
    holder = start(LOCK_ALL, file)
    waiter = start(TAKE_OFTEN, file, 3, 2, key)
    let_go(waiter)
    holder.kill()
    holder.communicate()
    assert waiter.communicate(timeout=PATIENCE_S)[0].split() == ["2"]
    assert not take(Buckets(file), key, burst=2)
