"""EARS on worked examples, the arithmetic written out, and what holds for all counts."""

from datetime import date, timedelta
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.detection.ears import Method, judge

DAY = date(2018, 8, 20)
METHODS: tuple[Method, ...] = ("c1", "c2", "c3")


def counts(*newest_last: int | None) -> dict[date, int]:
    """Counts that end on DAY; None: that day is missing."""
    first = DAY - timedelta(days=len(newest_last) - 1)
    return {first + timedelta(days=n): count for n, count in enumerate(newest_last) if count is not None}


def test_c2_compares_with_the_seven_days_before_the_last_two() -> None:
    # t-9 ... t-3: 1 2 3 2 1 3 2: mean 14 / 7 = 2; squares 1 0 1 0 1 1 0 = 4; SD = sqrt(4 / 6) = 0.816
    # limit = 2 + 3 x 0.816 = 4.449; (5 - 2) / 0.816 = 3.67: alarm. t-2 and t-1 (9, 9) are not looked at.
    found = judge("c2", counts(1, 2, 3, 2, 1, 3, 2, 9, 9, 5), DAY)

    assert found.alarm
    assert found.expected == 2
    assert found.limit == pytest.approx(2 + 3 * sqrt(4 / 6))
    assert found.sentence == "5 today, 2.0 expected, limit 4.4"
    assert found.sentence_zh == "今日 5 起，预期 2.0 起，界限 4.4 起"


def test_c1_compares_with_the_seven_days_before() -> None:
    # t-7 ... t-1: 3 2 1 3 2 9 9: mean 29 / 7 = 4.143; sum of squares 189 - 29 x 29 / 7 = 68.857; SD = 3.388
    # limit = 4.143 + 3 x 3.388 = 14.306; 5 lies below
    found = judge("c1", counts(1, 2, 3, 2, 1, 3, 2, 9, 9, 5), DAY)

    assert not found.alarm
    assert found.sentence == "5 today, 4.1 expected, limit 14.3"


def test_a_baseline_that_does_not_vary_has_a_deviation_of_one_half() -> None:
    # mean 2, SD 0 -> 0.5; limit = 2 + 3 x 0.5 = 3.5
    assert not judge("c2", counts(*[2] * 9, 3), DAY).alarm
    assert judge("c2", counts(*[2] * 9, 4), DAY).sentence == "4 today, 2.0 expected, limit 3.5"
    assert judge("c2", counts(*[2] * 9, 4), DAY).alarm


def test_fewer_than_three_are_never_an_alarm() -> None:
    # mean 0, SD 0.5: two would stand at 4 standard deviations
    two = judge("c2", counts(*[0] * 9, 2), DAY)
    three = judge("c2", counts(*[0] * 9, 3), DAY)

    assert (two.alarm, two.limit) == (False, 3)
    assert (three.alarm, three.sentence) == (True, "3 today, 0.0 expected, limit 3.0")


def test_a_count_exactly_at_the_limit_is_an_alarm() -> None:
    # 0 0 0 2 2 2 1: mean 1; squares 6; SD = sqrt(6 / 6) = 1; limit = 1 + 3 = 4
    assert judge("c2", counts(0, 0, 0, 2, 2, 2, 1, 0, 0, 4), DAY).alarm
    assert not judge("c2", counts(0, 0, 0, 2, 2, 2, 1, 0, 0, 3), DAY).alarm


def test_c3_adds_up_three_days_of_what_lies_above_one_deviation() -> None:
    # All baselines are 0 with SD 0.5 until a count enters them; t-2, t-1, t = 1, 1, 3.
    # C2 of t-2 = 1 / 0.5 = 2 -> 1; of t-1 = 2 -> 1 (its baseline ends at t-4); they add up to 2 already.
    before = counts(*[0] * 9, 1, 1, 3)
    # With t-2 and t-1 at 0: 3 / 0.5 - 1 = 5.
    alone = counts(*[0] * 9, 0, 0, 3)

    assert judge("c3", before, DAY).alarm
    assert judge("c3", before, DAY).limit == 3
    assert judge("c3", alone, DAY).alarm
    # Steady around 4: 3 4 5 4 3 5 4: mean 4, SD 0.816. t-2, t-1, t = 5 each.
    # C2 of t = (5 - 4) / 0.816 = 1.22 -> 0.22. For t-1 the baseline is 5 3 4 5 4 3 5: mean 29 / 7 = 4.143,
    # SD = sqrt((125 - 841 / 7) / 6) = 0.9: (5 - 4.143) / 0.9 = 0.95 -> 0. For t-2 it is
    # 4 5 3 4 5 4 3: mean 4, SD 0.816 -> 0.22. Together 0.45, below 2; today's part would have to be 2 - 0.22,
    # so its C2 2.78: 4 + 2.78 x 0.816 = 6.27.
    slow = counts(4, 5, 3, 4, 5, 4, 3, 5, 4, 5, 5, 5)
    assert not judge("c3", slow, DAY).alarm
    assert judge("c3", slow, DAY).sentence == "5 today, 4.0 expected, limit 6.3"


def test_c3_tells_a_slow_rise_that_c2_does_not() -> None:
    # Baselines of 2 with SD 0.5. t-2 = 3: C2 = 2 -> 1; t-1 = 3: 2 -> 1; t = 3: 2 -> 1. Together 3, at least 2.
    rising = counts(*[2] * 9, 3, 3, 3)

    assert not judge("c2", rising, DAY).alarm
    assert judge("c3", rising, DAY).alarm


def test_a_missing_day_is_missing_and_not_zero() -> None:
    # Known of t-9 ... t-3: 4 4 4 4: mean 4, SD 0.5, limit 5.5. As zeros: mean 16 / 7 = 2.3, and another deviation.
    found = judge("c2", counts(4, None, 4, None, 4, None, 4, 0, 0, 6), DAY, days_at_least=4)

    assert (found.alarm, found.sentence) == (True, "6 today, 4.0 expected, limit 5.5")


def test_with_too_few_days_of_baseline_there_is_no_alarm_and_it_says_so() -> None:
    found = judge("c2", counts(4, None, 4, None, 4, None, None, 0, 0, 60), DAY, days_at_least=4)

    assert not found.alarm
    assert (found.expected, found.limit) == (None, None)
    assert found.sentence == "60 today; 3 of 7 days before are known, too few to say."
    assert found.sentence_zh == "今日 60 起；此前 7 天中仅 3 天有数，不足以判断。"


@pytest.mark.parametrize("method", METHODS)
def test_a_day_that_is_itself_missing_is_no_alarm(method: Method) -> None:
    found = judge(method, counts(1, 2, 3, 2, 1, 3, 2, 9, 9, None), DAY)

    assert (found.alarm, found.observed, found.sentence) == (False, None, "Today's count is not known.")


some_counts = st.dictionaries(
    st.integers(0, 12).map(lambda ago: DAY - timedelta(days=ago)), st.integers(0, 60), min_size=1
)


@given(some_counts, st.sampled_from(METHODS), st.integers(2, 7))
def test_an_alarm_is_a_count_of_three_or_more_that_reaches_its_limit(
    found: dict[date, int], method: Method, days: int
) -> None:
    verdict = judge(method, found, DAY, days_at_least=days)

    if verdict.limit is None or verdict.observed is None:
        assert not verdict.alarm
    else:
        assert verdict.limit >= 3
        assert verdict.expected is not None
        # At the limit itself the two ways to ask differ by rounding alone.
        if abs(verdict.observed - verdict.limit) > 1e-6:
            assert verdict.alarm == (verdict.observed > verdict.limit)
        assert verdict.sentence.startswith(f"{verdict.observed} today, {verdict.expected:.1f} expected, limit ")


@given(some_counts, st.sampled_from(METHODS))
def test_the_order_of_the_counts_does_not_matter(found: dict[date, int], method: Method) -> None:
    turned = dict(reversed(found.items()))

    assert judge(method, turned, DAY) == judge(method, found, DAY)


@given(some_counts, st.integers(3, 9))
def test_forgetting_a_day_never_counts_it_as_zero(found: dict[date, int], ago: int) -> None:
    day = DAY - timedelta(days=ago)
    without = {one: count for one, count in found.items() if one != day} | {DAY: 5}
    rest = [count for one, count in without.items() if DAY - timedelta(days=9) <= one <= DAY - timedelta(days=3)]

    verdict = judge("c2", without, DAY, days_at_least=2)

    if len(rest) < 2:
        assert verdict.expected is None
    else:
        assert verdict.expected == pytest.approx(sum(rest) / len(rest))


@given(some_counts, st.sampled_from(METHODS), st.integers(1, 50))
def test_more_of_the_same_day_never_silences_an_alarm(found: dict[date, int], method: Method, more: int) -> None:
    before = judge(method, found | {DAY: 5}, DAY, days_at_least=2)
    after = judge(method, found | {DAY: 5 + more}, DAY, days_at_least=2)

    assert after.alarm or not before.alarm
