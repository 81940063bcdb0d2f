"""Token buckets against their definition, in exact numbers."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from server.access.token_buckets import Taking, take, with_share
from storage.keys.limits import HIGHEST_RATE, LARGEST_BURST, LOWEST_RATE, RateLimit

SECOND_NS = 10**9

# Rates whose share of a second is a whole number of nanoseconds, as that of any other is rounded to.
limits = st.builds(RateLimit, st.sampled_from([0.125, 0.5, 1.0, 8.0, 250.0, 1_000_000.0]), st.integers(1, 1000))
attempts = st.lists(st.tuples(st.integers(0, 10 * SECOND_NS), st.integers(1, 1200)), min_size=1, max_size=60)


@given(limits, attempts)
def test_a_bucket_holds_a_burst_and_fills_at_its_rate(limit: RateLimit, attempts: list[tuple[int, int]]) -> None:
    rate, burst = Fraction(limit.per_second) / SECOND_NS, Fraction(limit.burst)
    tokens, full_in_ns = burst, 0
    for pause_ns, count in attempts:
        tokens = min(burst, tokens + pause_ns * rate)
        taking = take(limit, full_in_ns - pause_ns, count)
        assert (taking.delay_ns == 0) is (count <= tokens)
        if taking.delay_ns:
            assert taking.delay_ns * rate == count - tokens
        else:
            tokens -= count
        assert taking.full_in_ns * rate == burst - tokens
        assert taking.left == int(tokens)
        full_in_ns = taking.full_in_ns


@given(st.floats(LOWEST_RATE, HIGHEST_RATE), st.integers(1, LARGEST_BURST), st.integers(-(2**62), 2**62))
def test_any_rate_lets_a_whole_burst_through_and_no_more(rate: float, burst: int, full_in_ns: int) -> None:
    limit = RateLimit(rate, burst)
    taking = take(limit, 0, burst)
    assert (taking.delay_ns, taking.left) == (0, 0)
    refused = take(limit, taking.full_in_ns, 1)
    assert refused.delay_ns > 0
    assert take(limit, taking.full_in_ns - refused.delay_ns, 1).delay_ns == 0
    # What was left of another limit, before it was changed, is at most an empty bucket.
    assert take(limit, full_in_ns, 1).full_in_ns <= taking.full_in_ns < 2**62


@given(limits, st.floats(0.001, 1.0), attempts)
def test_a_share_lets_through_its_part_and_any_batch_up_to_a_burst(
    limit: RateLimit, share: float, attempts: list[tuple[int, int]]
) -> None:
    full_in_ns = passed_ns = taken = largest = 0
    for pause_ns, count in attempts:
        taking = take(limit, full_in_ns - pause_ns, count, share)
        passed_ns += pause_ns
        if full_in_ns <= pause_ns:
            assert (taking.delay_ns == 0) is (count <= limit.burst)
        if not taking.delay_ns:
            taken, largest = taken + count, max(largest, count)
        full_in_ns = taking.full_in_ns
    at_once = max(share * limit.burst, largest)
    assert taken <= (at_once + share * limit.per_second * passed_ns / SECOND_NS) * 1.001


@given(limits, st.floats(0.001, 1.0), st.floats(0.001, 1.0), st.integers(-SECOND_NS, 2**62))
def test_a_bucket_that_gets_another_share_holds_that_part_of_what_it_held(
    limit: RateLimit, old: float, new: float, full_in_ns: int
) -> None:
    empty_ns = round(limit.burst * SECOND_NS / limit.per_second)
    changed_ns = with_share(limit, full_in_ns, old, new)
    assert changed_ns < 2**63 - 2**61
    if full_in_ns <= empty_ns:
        assert changed_ns == full_in_ns
    else:  # what it lacks beyond that is as many as before
        assert changed_ns == 2**62 or abs((changed_ns - empty_ns) * new / old / (full_in_ns - empty_ns) - 1) < 0.001


def test_what_is_refused_leaves_the_bucket_as_it_was() -> None:
    limit = RateLimit(1.0, 10)
    assert take(limit, 4 * SECOND_NS, 7) == Taking(SECOND_NS, 4 * SECOND_NS, 6)
    assert take(limit, 4 * SECOND_NS, 6) == Taking(0, 10 * SECOND_NS, 0)
