import logging
from dataclasses import replace

import numpy as np
import pytest
from example_trials import make_trials, true_scores
from scipy.stats import spearmanr

from mixopt import Metric, Mixture, Trials, fit
from mixopt.errors import TrialsError
from mixopt.surrogates.multi_fidelity import order_fidelities
from mixopt.trial import Slope

CHEAP_MODELS = ("gp_log",)
FRESH = np.random.default_rng(5).dirichlet(np.ones(4), 300)
TRUTH = true_scores(FRESH)


def low(n):
    """Biased cheap runs."""
    return make_trials(n, bias=0.3, seed=1, fidelity="1M", cost=1.0)


def high(n):
    return make_trials(n, seed=2, fidelity="1B", cost=1000.0)


def cheap_fit(trials, **options):
    return fit(trials, surrogates=CHEAP_MODELS, **options)


def error(surrogate):
    mean, _ = surrogate.predict(FRESH)
    return np.square((mean - TRUTH) / TRUTH.std(0)).mean()


@pytest.fixture(scope="module")
def low_alone():
    return cheap_fit(low(60))


@pytest.fixture(scope="module")
def both():
    return cheap_fit(low(60) + high(8))


def test_a_few_high_fidelity_runs_correct_many_cheap_ones(low_alone, both):
    """8 runs at 1B beside 60 biased ones at 1M predict 1B better than either alone."""
    assert error(both) < 0.5 * error(cheap_fit(high(8)))
    assert error(both) < 0.2 * error(low_alone)


def test_summary_of_each_fidelity(both):
    below, above = both.fidelities
    assert (below.level, below.trials, below.cost) == ("1M", 60, 1.0)
    assert (above.level, above.trials) == ("1B", 8)
    assert below.biases["loss_a"] < -0.5  # the low fidelity's losses are 30% and .3 too high
    assert below.rank_correlations["loss_a"] > 0.9
    assert above.biases == {}
    assert [trial.level for trial in both.trials] == ["1B"] * 8


def test_even_three_high_fidelity_runs_are_enough_to_take_the_bias_off(low_alone):
    mean, std = cheap_fit(low(60) + high(3)).predict(FRESH)
    alone, _ = low_alone.predict(FRESH)
    assert np.abs(mean - TRUTH)[:, 0].mean() < 0.4 * np.abs(alone - TRUTH)[:, 0].mean()
    assert (std > 0).all()


def test_kinds_are_ordered_by_what_they_are():
    trials = make_trials(8, kind="merged") + make_trials(8, kind="trained")
    trials = trials + make_trials(8, kind="ensembled")
    assert order_fidelities(trials, None) == ["ensembled", "merged", "trained"]
    assert order_fidelities(trials, ["merged", "trained"]) == ["merged", "trained"]


@pytest.mark.parametrize(
    ("names", "costs"),
    [
        (["60M", "1B"], [0, 0]),
        (["Tiny-60M", "pythia-1.4b-deduped"], [0, 0]),
        (["6e7", "1B"], [9, 1]),  # a small model that read more
        (["9.5", "10"], [0, 0]),
    ],
)
def test_sizes_are_ordered_whatever_their_place_or_cost(names, costs):
    tables = [make_trials(8, fidelity=n, cost=c) for n, c in zip(names, costs, strict=True)]
    assert order_fidelities(tables[1] + tables[0], None) == names
    assert order_fidelities(tables[0] + tables[1], None) == names


def test_two_models_of_one_size_are_asked_for():
    trials = make_trials(8, fidelity="gpt-60M") + make_trials(8, fidelity="llama-60M")
    with pytest.raises(TrialsError, match="--fidelities gpt-60M,llama-60M"):
        order_fidelities(trials, None)


def test_a_size_may_be_spelled_otherwise():
    trials = make_trials(8, fidelity="61.5M") + make_trials(8, fidelity="1B")
    assert order_fidelities(trials, ["61483264", "1e9"]) == ["61.5M", "1B"]
    with pytest.raises(TrialsError, match="No trial has fidelity '62.5M'"):
        order_fidelities(trials, ["62.5M", "1B"])


def test_too_few_of_every_size_are_listed():
    trials = make_trials(4, fidelity="60M") + make_trials(5, fidelity="1B")
    with pytest.raises(TrialsError, match=r"9 trials of one fidelity \(4 60M, 5 1B\) are too few"):
        fit(trials)


def test_levels_that_nothing_orders_are_asked_for():
    trials = make_trials(8, fidelity="small") + make_trials(8, fidelity="large")
    with pytest.raises(TrialsError, match="neither size, cost nor kind orders them"):
        fit(trials)
    fitted = cheap_fit(trials, fidelities=["small", "large"])
    assert fitted.fidelities[-1].level == "large"
    with pytest.raises(TrialsError, match="Did you mean 'small'"):
        fit(trials, fidelities=["smal", "large"])


def test_standard_errors_are_heeded_where_they_help():
    """Half of the runs are noisy and say so: their word counts less."""
    sure = make_trials(20, noise=0.01, seed=1, std_error=0.01)
    loud = make_trials(20, noise=1.5, seed=2, std_error=1.5)
    mixed = Trials([*sure, *(replace(t, id=f"n{t.id}") for t in loud)], sure.metrics, sure.domains)
    errors = [
        np.square(cheap_fit(mixed, use_std_errors=use).predict(FRESH)[0] - TRUTH).mean()
        for use in (True, False)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_levels_are_named_once_each():
    table = make_trials(4).labelled("1B") + make_trials(4).labelled("7B")
    with pytest.raises(TrialsError, match="names '1B' twice"):
        order_fidelities(table, ["1B", "1B"])
    with pytest.raises(TrialsError, match="fidelities is empty"):
        order_fidelities(table, [])


def test_a_metric_that_no_dear_run_has_keeps_the_cheap_level_s_centre(caplog):
    cheap = make_trials(40, seed=1, fidelity="small", cost=1.0)
    dear = make_trials(4, seed=2, fidelity="large", cost=50.0)
    gaps = [replace(t, scores={n: s for n, s in t.scores.items() if n != "loss_b"}) for t in dear]
    surrogate = cheap_fit(cheap + Trials(gaps, dear.metrics, dear.domains))
    even = np.full((1, 4), 0.25)
    mean, _ = surrogate.predict(even)
    assert mean[0, 1] == pytest.approx(true_scores(even)[0, 1], abs=0.3)
    assert "No large run has loss_b" in caplog.text


def with_slopes(trials):
    """The trials with the true slopes of their scores towards every corner."""
    found = []
    for trial in trials:
        here = trial.ratios.vector(trials.domains)
        slopes = []
        for corner in np.eye(4):
            near = here + 1e-6 * (corner - here)
            change = (true_scores(near[None]) - true_scores(here[None]))[0] / 1e-6
            towards = Mixture.from_vector(trials.domains, corner)
            slopes.append(
                Slope(towards, dict(zip(("loss_a", "loss_b", "acc_c"), change, strict=True)))
            )
        found.append(replace(trial, slopes=tuple(slopes)))
    return Trials(found, trials.metrics, trials.domains)


@pytest.fixture(scope="module")
def fitted_with_slopes():
    return cheap_fit(with_slopes(make_trials(10, noise=0.0, seed=3)))


def test_slopes_inform_as_further_trials_would(fitted_with_slopes):
    plain = cheap_fit(make_trials(10, noise=0.0, seed=3))
    assert error(fitted_with_slopes) < 0.6 * error(plain)


def test_slopes_are_no_trials_of_their_own(fitted_with_slopes):
    assert len(fitted_with_slopes.trials) == 10
    assert fitted_with_slopes.model.cv_means.shape == (10, 3)
    assert len(fitted_with_slopes.cv_utilities) == 10


def test_dear_runs_of_a_narrow_range_do_not_clip_what_cheap_ones_showed():
    """Four dear runs near each other; the cheap ones reach far better mixtures."""
    cheap, dear = low(60), high(40)
    order = np.argsort(np.abs(dear.values(dear.metrics)[:, 0] - true_scores(FRESH)[:, 0].mean()))
    near = Trials([dear[int(i)] for i in order[:8]], dear.metrics, dear.domains)
    surrogate = cheap_fit(cheap + near)
    spread = np.ptp(surrogate.predict(FRESH)[0][:, 0])
    narrow = np.ptp(near.values(near.metrics)[:, 0])
    assert spread > 3 * narrow
    assert error(surrogate) < 0.25


def test_four_dear_runs_are_left_out_to_tell_the_correction_s_width():
    """A perfect proxy has narrower intervals than a bad one, and two runs tell nothing."""
    noisy = make_trials(60, bias=0.3, noise=0.3, seed=1, fidelity="1M", cost=1.0)
    factors = []
    for cheap in (low(60), noisy):
        model = cheap_fit(cheap + high(4)).model
        assert np.isfinite(model.cv_means).all()
        assert model.scales == pytest.approx(1.0)
        factors.append(model.critical_values.factor.mean())
    # that is no cross-validation by which anything is ranked
    surrogate = cheap_fit(low(60) + high(4))
    assert np.isnan(surrogate.cv_utilities).all()
    assert all(np.isnan(one.rank_correlation) for one in surrogate.metrics)
    assert factors[0] < 1
    assert np.isnan(cheap_fit(low(60) + high(2)).model.cv_means).all()


def test_few_dear_runs_take_the_correlation_of_errors_from_cheap_ones():
    surrogate = cheap_fit(low(60) + high(3))
    assert surrogate.correlation is not None
    ratios = FRESH[:5]
    mean, std = surrogate.predict(ratios)
    _, wide = surrogate.predict_utility(ratios)
    expected = surrogate.utility.std(std, mean, surrogate.correlation)
    factor = surrogate.utility_critical_values.factor[0]
    assert wide == pytest.approx(factor * expected)
    assert (wide != factor * surrogate.utility.std(std, mean)).all()


def priced(level, **fields):
    return make_trials(8, fidelity=level, **fields)


def test_costs_of_different_units_order_nothing():
    small = priced("small", cost=1e9, cost_unit="tokens")
    large = priced("large", cost=100.0, cost_unit="gpu_hours")
    with pytest.raises(
        TrialsError, match=r"\(costs are in tokens and gpu_hours\); give costs in one unit"
    ):
        order_fidelities(small + large, None)
    with pytest.raises(TrialsError, match="costs are in no unit and gpu_hours"):
        order_fidelities(priced("small", cost=1e9) + large, None)
    with pytest.raises(TrialsError, match="nor kind orders them; give costs"):
        order_fidelities(priced("small", flops=1e9) + large, None)


def test_what_cost_decides_is_said(caplog):
    caplog.set_level(logging.INFO)
    known = priced("large", cost=100.0, cost_unit="h") + priced("small", cost=1.0, cost_unit="h")
    assert order_fidelities(known, None) == ["small", "large"]
    assert caplog.messages == [
        "Fidelities are ordered by cost (small 1, large 100 h) and large is predicted; give fidelities= "
        "(--fidelities on the shell) if the costs are not in one unit."
    ]
    order_fidelities(priced("large", cost=100.0) + priced("small", cost=1.0), None)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_flops_serve_where_costs_have_several_units():
    small = priced("small", cost=1e9, cost_unit="tokens", flops=1.0)
    large = priced("large", cost=100.0, cost_unit="gpu_hours", flops=5.0)
    assert order_fidelities(large + small, None) == ["small", "large"]


def stepped(n, level, seed, shift=0.0):
    """Runs whose loss jumps, which trees alone learn."""
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(4), n)
    jumps = 1.0 * (ratios[:, 0] > 0.3) + 0.5 * (ratios[:, 1] > 0.25)
    scores = shift + jumps + rng.normal(0, 0.05, n)
    table = Trials.from_arrays(ratios, scores[:, None], domains=list("abcd"),
                               metrics={"loss": "lower"},
                               ids=[f"{level}-{i}" for i in range(n)])  # fmt: skip
    return table.labelled(level)


def test_expected_utilities_have_all_of_the_lower_fidelity():
    """Trees below have no gradient, and their part of the mean is a part all the same."""
    both = fit(stepped(80, "1M", 0) + stepped(8, "1B", 1), surrogates=["trees", "constant"])
    predicted, _ = both.predict_utility(FRESH)
    assert both.expected_utility(FRESH) == pytest.approx(predicted)
    gains, _ = both.utility_difference(FRESH, FRESH[0])
    assert gains == pytest.approx(predicted - predicted[0])
    assert both.model.differentiable_share < 0.5


@pytest.mark.parametrize("normalise", ["z", "rank"])
def test_the_worst_and_ranks_are_told_at_the_level_that_is_predicted(normalise):
    """The cheap runs scale the utility of four dear ones, which are better by far."""
    rng = np.random.default_rng(0)

    def table(n, level, shift):
        ratios = rng.dirichlet(np.ones(4), n)
        scores = shift - np.sqrt(ratios[:, :2]) + rng.normal(0, 0.01, (n, 2))
        own = Trials.from_arrays(
            ratios, scores, domains=list("abcd"), ids=[f"{level}-{i}" for i in range(n)],
            metrics=[Metric("x", capability="x"), Metric("y", capability="y")],
        )  # fmt: skip
        return own.labelled(level)

    # y has a larger bias than x
    trials = table(40, "1M", np.array([5.0, 5.0])) + table(4, "1B", np.array([4.5, 1.0]))
    surrogate = fit(trials, surrogates="ridge_root", normalise=normalise, target="worst")
    found, _ = surrogate.predict_utility(FRESH)
    truth = np.sqrt(FRESH[:, :2]).min(axis=1)
    assert spearmanr(found, truth)[0] > 0.9
