from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mixopt
from mixopt.exporters.rounding import DECIMALS, apportion_counts, format_ratio, round_ratios

AMOUNTS = st.lists(st.floats(0, 1), min_size=1, max_size=40).filter(lambda xs: sum(xs) > 1e-3)
# how long an example takes depends on what else the machine does
AT_ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mixture(amounts):
    return mixopt.Mixture.normalised({f"d{i}": x for i, x in enumerate(amounts)})


@AT_ANY_PACE
@given(AMOUNTS)
def test_rounding_sums_to_exactly_one_and_drifts_little(amounts):
    ratios = mixture(amounts)
    written = round_ratios(ratios)
    assert sum(round(value * 10**DECIMALS) for value in written.values()) == 10**DECIMALS
    assert max(abs(ratios[name] - written[name]) for name in ratios) < 10**-DECIMALS * 1.001
    assert all(float(format_ratio(value)) == value for value in written.values())


@AT_ANY_PACE
@given(AMOUNTS, st.integers(0, 10**9))
def test_counts_sum_to_what_is_counted_out_and_miss_by_less_than_one(amounts, total):
    ratios = mixture(amounts)
    counts = apportion_counts(ratios, total)
    assert sum(counts.values()) == total
    assert all(abs(counts[name] - ratios[name] * total) < 1 + 1e-6 for name in ratios)
