"""How servers share a limit: the arithmetic of a share, and servers in simulated time, each with its own late view."""

import heapq
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.limit_shares import RESERVE, approach, remember, share_of
from server.access.token_buckets import take, with_share
from storage.keys.limits import RateLimit

SECOND_NS = 10**9
INTERVAL_S = 1.05
RATE = RateLimit(50.0, 50)
ROWS = RateLimit(2000.0, 2000)

wanted = st.lists(st.floats(0, 1000), min_size=1, max_size=8)


@given(wanted, st.sampled_from([0.001, 1.0, 50.0, 1e6]))
def test_the_shares_of_all_servers_are_one_and_none_is_nothing(wanted: list[float], rate: float) -> None:
    shares = [share_of(own, [*wanted[:i], *wanted[i + 1 :]], len(wanted), rate) for i, own in enumerate(wanted)]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= RESERVE / len(wanted) * 0.999


@given(wanted, st.floats(0, 1000))
def test_what_is_not_too_much_together_is_given_to_each(others: list[float], own: float) -> None:
    rate = own + sum(others) + 1
    assert share_of(own, others, len(others) + 1, rate) * rate >= own * (1 - RESERVE)


def test_a_server_that_nobody_asks_leaves_the_limit_to_the_others() -> None:
    assert share_of(500.0, [0.0, 0.0], 3, 50.0) > 0.95
    assert share_of(500.0, [500.0, 5.0], 3, 50.0) == pytest.approx(0.95 * 0.45 + 0.05 / 3)
    assert share_of(0.0, [], 4, 50.0) == 0.25


class Server:
    """A server with one bucket, in simulated time."""

    def __init__(self, servers: int, starts_at: float) -> None:
        self.share = 1 / servers
        self.wanted = 0.0
        self.reported_at = 0.0
        self._full_at_ns = 0
        self._asked = 0.0
        self._looked_at = starts_at - INTERVAL_S

    def take(self, now: float, limit: RateLimit, count: int) -> bool:
        now_ns = int(now * SECOND_NS)
        taking = take(limit, self._full_at_ns - now_ns, count, self.share)
        self._full_at_ns = now_ns + taking.full_in_ns
        self._asked += count
        return not taking.delay_ns

    def exchange(self, now: float, limit: RateLimit, others: "Sequence[Server]") -> None:
        self.wanted = remember(self.wanted, self._asked, now - self._looked_at, limit)
        self.reported_at, self._looked_at, self._asked = now, now, 0.0
        target = share_of(self.wanted, [each.wanted for each in others], len(others) + 1, limit.per_second)
        share, now_ns = approach(self.share, target), int(now * SECOND_NS)
        self._full_at_ns = now_ns + with_share(limit, self._full_at_ns - now_ns, self.share, share)
        self.share = share


Load = Callable[[float], float]


def simulate(limit: RateLimit, count: int, loads: Sequence[Load], seconds: int, dies_at: float = 1e9) -> list[float]:
    """Return what was taken in each second, of 1 for the limit; the first server dies, and is forgotten after 5 s."""
    random = Random(7)
    servers = [Server(len(loads), random.random()) for _ in loads]
    events = [(random.random(), index, True) for index in range(len(loads))]
    events += [(random.random() / 100, index, False) for index in range(len(loads))]
    heapq.heapify(events)
    taken = [0.0] * seconds
    while True:
        now, index, is_exchange = heapq.heappop(events)
        if now >= seconds:
            return taken
        if index == 0 and now > dies_at:
            continue
        if is_exchange:
            others = [each for at, each in enumerate(servers) if at != index and now - each.reported_at < 5]
            servers[index].exchange(now, limit, others)
            heapq.heappush(events, (now + INTERVAL_S, index, True))
            continue
        rate = loads[index](now)
        if rate and servers[index].take(now, limit, count):
            taken[int(now)] += count / limit.per_second
        heapq.heappush(events, (now + (random.expovariate(rate) if rate else 0.1), index, False))


def flood(_: float) -> float:
    return 300.0


def silence(_: float) -> float:
    return 0.0


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("loads", [[flood, silence], [flood] * 2, [flood] * 3, [flood, flood, silence, lambda _: 5.0]])
@pytest.mark.parametrize(("limit", "count"), [(RATE, 1), (ROWS, 100), (RateLimit(100.0, 100), 100)])
def test_all_servers_together_let_through_what_the_limit_says(loads: list[Load], limit: RateLimit, count: int) -> None:
    taken = simulate(limit, count, loads, 65)
    assert 0.9 < mean(taken[5:]) < 1.1
    # A burst comes on top, and what servers allow that do not know of each other yet.
    assert sum(taken[:5]) < 5 + 1 + len(loads)


def test_the_limit_follows_the_traffic_to_another_server_and_outlives_a_server() -> None:
    moved = simulate(RATE, 1, [lambda now: 300.0 * (now < 15), lambda now: 300.0 * (now >= 15)], 35)
    assert 0.9 < mean(moved[5:15]) < 1.1
    assert 0.9 < mean(moved[20:]) < 1.1
    died = simulate(RATE, 1, [flood] * 3, 35, dies_at=15)
    assert 0.9 < mean(died[24:]) < 1.1


def test_less_than_the_limit_is_hardly_refused_however_it_is_spread() -> None:
    for loads in ([30.0, 10.0], [20.0, 10.0, 10.0], [40.0, 0.0]):
        offered: list[Load] = [lambda _, load=load: load for load in loads]  # type: ignore[misc]
        assert mean(simulate(RATE, 1, offered, 65)[5:]) > 0.9 * 40 / 50


def test_a_rise_goes_half_of_the_way_and_a_fall_all_of_it() -> None:
    assert approach(0.5, 0.9) == pytest.approx(0.7)
    assert approach(0.5, 0.1) == 0.1
