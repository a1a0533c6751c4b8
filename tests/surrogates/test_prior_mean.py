import logging

import numpy as np
import pytest

from mixopt import Metric, Trials, fit
from mixopt.errors import TrialsError
from mixopt.surrogates.prior_mean import LEAST_CORRELATION, fit_prior_mean
from mixopt.surrogates.serialization import load_surrogate, save_surrogate

DOMAINS = ("web", "code", "books", "law")
METRICS = (Metric("loss", "lower"), Metric("right", "higher"), Metric("own", "lower"))
RNG = np.random.default_rng(4)
ASKED = RNG.dirichlet(np.ones(4), 60)
NOISE = 0.02


def expect(ratios):
    """Distances of overlap: what each metric's text has in common with each domain is known."""
    overlap = np.array([[0.1, 0.9, 0.2, 0.1], [0.3, 0.1, 0.8, 0.2], [0.1, 0.1, 0.2, 0.9]])
    return np.exp(-3 * np.sqrt(ratios) @ overlap.T)


def measure(ratios, rng=None):
    """Scores that follow the distances, and something else that no text tells."""
    other = np.stack([ratios[:, 0] * ratios[:, 1], ratios[:, 3] ** 2, ratios[:, 0]], axis=1)
    scores = 3 + np.array([2.0, -1.0, 0.5]) * (expect(ratios) + 0.15 * other)
    return scores if rng is None else scores + NOISE * rng.standard_normal(scores.shape)


def table(n, seed=0, **changes):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(4), n)
    scores = changes.pop("scores", measure)(ratios, rng)
    return Trials.from_arrays(ratios, scores, domains=DOMAINS, metrics=METRICS, **changes)


@pytest.fixture(scope="module")
def expected():
    ratios = np.vstack([np.eye(4), np.random.default_rng(9).dirichlet(np.ones(4), 60)])
    # distances of text: nearer is better whatever the direction of the metric
    return Trials.from_arrays(ratios, expect(ratios) * [1, -1, 1], domains=DOMAINS, metrics=METRICS)


def error(surrogate):
    """Root mean square error of the scores of mixtures that were not run, in their spreads."""
    truth = measure(ASKED)
    return float(np.sqrt((((surrogate.predict(ASKED)[0] - truth) / truth.std(axis=0)) ** 2).mean()))


def test_with_four_runs_the_prior_mean_tells_more_than_their_mean(expected):
    for seed in range(3):
        runs = table(4, seed)
        with pytest.raises(
            TrialsError, match="4 trials are too few to fit.*add runs .`mixopt design`"
        ):
            fit(runs)
        found = fit(runs, prior_mean=expected, seed=0)
        truth = measure(ASKED)
        plain = (runs.values(METRICS).mean(axis=0) - truth) / truth.std(axis=0)
        assert error(found) < 0.6 * np.sqrt((plain**2).mean())
        assert np.isfinite(found.predict_utility(ASKED)[1]).all()


def test_with_few_runs_the_fit_is_better_and_with_many_the_runs_outweigh_it(expected):
    few = [(error(fit(table(7, s))), error(fit(table(7, s), prior_mean=expected))) for s in (1, 2)]
    without, with_prior = np.mean(few, axis=0)
    assert with_prior < 0.8 * without
    # a prior mean that says the opposite of the truth, and one that says nothing of it
    runs = table(60, 5)
    alone = error(fit(runs))
    rng = np.random.default_rng(1)
    ratios = expected.ratios()
    for scores in (-expected.values(METRICS), rng.standard_normal((len(ratios), 3))):
        wrong = Trials.from_arrays(ratios, scores, domains=DOMAINS, metrics=METRICS)
        assert error(fit(runs, prior_mean=wrong)) < 1.1 * alone + 0.01
    assert error(fit(runs, prior_mean=expected)) < 1.1 * alone + 0.01


def test_expected_scores_are_mapped_to_the_runs_by_their_common_correlation(expected, caplog):
    runs = table(40, 3)
    with caplog.at_level(logging.INFO, logger="mixopt"):
        scale, model = fit_prior_mean(expected, runs, METRICS, seed=0)
    z = model.predict(runs.ratios())[0]
    values = runs.values(METRICS)
    mapped = scale.untransform(z, z)[0]
    assert mapped.mean(axis=0) == pytest.approx(values.mean(axis=0))
    direction = np.array([1, -1, 1])
    correlations = [
        np.corrcoef(a, b)[0, 1] for a, b in zip(z.T, (direction * values).T, strict=True)
    ]
    assert mapped.std(axis=0) / values.std(axis=0) == pytest.approx(
        [np.mean(correlations)] * 3, rel=1e-6
    )
    assert f"a correlation of {np.mean(correlations):.2f} with 40 runs" in caplog.text
    # one that ranks the other way round counts as one that hardly tells
    opposite = Trials.from_arrays(
        expected.ratios(), -expected.values(METRICS), domains=DOMAINS, metrics=METRICS
    )
    scale, _ = fit_prior_mean(opposite, runs, METRICS, seed=0)
    ratio = np.abs(scale.scales) * z.std(axis=0) / values.std(axis=0)
    assert ratio == pytest.approx([LEAST_CORRELATION] * 3, rel=0.1)


def test_a_metric_without_expected_scores_is_fitted_to_runs_alone(expected):
    part = Trials.from_arrays(
        expected.ratios(), expected.values(METRICS)[:, :1], domains=DOMAINS, metrics=METRICS[:1]
    )
    runs = table(8, 2)
    found = fit(runs, prior_mean=part)
    assert [each.metric.name for each in found.metrics] == ["loss", "right", "own"]
    assert np.isfinite(found.predict(ASKED)[0]).all()
    other = Trials.from_arrays(
        expected.ratios(), expected.values(METRICS)[:, :1], domains=DOMAINS,
        metrics=[Metric("foreign", "lower")],
    )  # fmt: skip
    with pytest.raises(TrialsError, match="expects no score of a metric that is fitted"):
        fit(runs, prior_mean=other)


def test_it_is_stored_and_read_without_loss(expected, tmp_path):
    found = fit(table(8, 2), prior_mean=expected)
    save_surrogate(found, tmp_path)
    read = load_surrogate(tmp_path, found.trials)
    assert read.predict(ASKED)[0].tolist() == found.predict(ASKED)[0].tolist()
    # the expected scores are no runs: support and tables do not hold them
    assert len(read.all_trials) == 8
    assert [fidelity.level for fidelity in read.fidelities] == ["trained"]


def test_the_order_of_its_domains_does_not_matter(expected):
    runs = table(4)
    turned = Trials.from_arrays(
        expected.ratios()[:, ::-1], expected.values(METRICS), domains=DOMAINS[::-1], metrics=METRICS
    )
    first, second = (fit(runs, prior_mean=each).predict(ASKED)[0] for each in (expected, turned))
    assert second == pytest.approx(first, abs=1e-6)


def test_wrong_tables_are_told(expected):
    with pytest.raises(
        TrialsError, match="is fitted to 2 mixtures and needs 3; add some, or leave"
    ):
        fit(table(2), prior_mean=expected)
    with pytest.raises(TrialsError, match="expects scores of 5 mixtures and needs 6"):
        fit(table(4), prior_mean=expected[:5])
    other = Trials.from_arrays(
        expected.ratios(), expected.values(METRICS), domains=("web", "kode", "books", "law"),
        metrics=METRICS,
    )  # fmt: skip
    with pytest.raises(TrialsError, match="knows no domain 'code'. Did you mean 'kode'"):
        fit(table(4), prior_mean=other)
