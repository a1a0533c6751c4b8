import json
from dataclasses import replace

import numpy as np
import pytest
from pages import NATURAL, report

import mixopt
from mixopt.decision import Decision, LearningStep
from mixopt.errors import MixtureError, OutputError, TrialsError
from mixopt.estimate import Estimate
from mixopt.trials import Trials

plots = mixopt.plots


def rows_of(plot, field):
    """The rows of a chart's data that have a field."""
    return next(rows for rows in plot.spec["datasets"].values() if field in rows[0])


def panels(plot):
    drawn = {}
    for row in rows_of(plot, "metric"):
        drawn.setdefault(row["metric"], []).append((row["predicted"], row["measured"]))
    return {name: np.array(pairs) for name, pairs in drawn.items()}


def test_ratios_are_arrows_in_percent_from_comparison_to_proposal():
    rows = rows_of(plots.plot_ratios(report().best), "domain")
    assert [row["after"] for row in rows] == pytest.approx([50, 25, 25])
    assert [row["before"] for row in rows] == pytest.approx([20, 30, 50])


def test_gains_are_points_with_95_percent_intervals():
    proposal = report().best
    predicted, measured = rows_of(plots.plot_gains(proposal), "gain")
    for row, gain in ((predicted, Estimate(0.4, 0.2)), (measured, Estimate(0.1, 0.2))):
        assert row["gain"] == gain.mean
        assert (row["low"], row["high"]) == pytest.approx(gain.interval)
    assert [predicted["name"], measured["name"]] == [
        "over natural, predicted", "over natural, measured"
    ]  # fmt: skip
    (comparison,) = proposal.comparisons
    unmeasured = replace(proposal, comparisons=(replace(comparison, measured_gain=None),))
    (row,) = rows_of(plots.plot_gains(unmeasured), "gain")
    assert row["name"] == "over natural, predicted"


def test_gains_need_a_comparison():
    with pytest.raises(MixtureError, match="no comparisons"):
        plots.plot_gains(replace(report().best, comparisons=()))


def test_the_learning_curve_of_a_study():
    best = report().best
    steps = (LearningStep(100, 0, Estimate(0.4, 0.2), False),
             LearningStep(300, 1, Estimate(0.5, 0.1), True))  # fmt: skip
    decision = Decision(True, best.ratios, best.ratios, Estimate(0.5, 0.1), 9, 1, learning=steps)
    drawn = rows_of(plots.plot_learning(replace(best, decision=decision)), "runs")
    assert [(row["tokens"], row["gain"]) for row in drawn] == [(100, 0.4), (300, 0.5)]
    with pytest.raises(MixtureError, match="no learning curve; only the first proposal of a study"):
        plots.plot_learning(best)


def test_own_trials_are_cross_validated(surrogate, runs):
    drawn = panels(plots.plot_predicted(surrogate))
    assert list(drawn) == ["utility", *(f.metric.name for f in surrogate.metrics)]
    fitted = surrogate.metrics[0]
    measured = runs.values([fitted.metric])[:, 0]
    assert (
        pytest.approx(np.array([fitted.cv_predictions, measured]), rel=1e-4)
        == drawn[fitted.metric.name].T
    )


def test_other_trials_are_predicted_whatever_the_order_of_their_domains(surrogate, runs):
    metric = surrogate.metrics[1].metric
    some = runs[:5]
    rows = [replace(run, scores={metric.name: run.scores[metric.name]}) for run in some]
    turned = Trials(rows, [metric], tuple(reversed(runs.domains)))
    drawn = panels(plots.plot_predicted(surrogate, turned))
    mean, _ = surrogate.predict(some.ratios())
    assert list(drawn) == [metric.name]
    expected = np.array([mean[:, 1], some.values([metric])[:, 0]])
    assert pytest.approx(expected, rel=1e-4) == drawn[metric.name].T


def test_trials_that_cannot_be_predicted_are_refused(surrogate, runs):
    with pytest.raises(TrialsError, match="no trials"):
        plots.plot_predicted(surrogate, runs[:0])
    with pytest.raises(TrialsError, match="none of the surrogate's metrics"):
        plots.plot_predicted(
            surrogate, Trials([replace(runs[0], scores={})], [mixopt.Metric("other")], runs.domains)
        )


def test_expert_losses_are_changes_in_percent():
    scores = {"base": {"m": 2.0, "n": 1.0}, "birds": {"m": 1.0, "n": 1.1}}
    rows = rows_of(plots.plot_expert_losses(scores), "change")
    assert [row["change"] for row in rows] == pytest.approx([-50, 10])
    (row,) = rows_of(plots.plot_expert_losses(scores, ["n"]), "change")
    assert row["text"] == "+10"


def test_a_loss_that_is_zero_for_the_base_has_a_dash():
    scores = {"base": {"m": 0.0, "n": 1.0}, "birds": {"m": 1.0, "n": 1.1}}
    plot = plots.plot_expert_losses(scores)
    assert [row["text"] for row in rows_of(plot, "change")] == ["–", "+10"]
    assert plot._repr_png_()


def test_a_plot_is_shown_in_notebooks_and_saved(tmp_path):
    plot = plots.plot_ratios(mixopt.Proposal(NATURAL, Estimate(0, 1), {}))
    png = plot._repr_png_()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert plot.save(tmp_path / "ratios.png").read_bytes() == png
    assert 'alt="Recommended ratios by domain"' in plot._repr_html_()
    assert plot.save(tmp_path / "ratios.svg").read_text().startswith("<svg")
    assert json.loads(plot.save(tmp_path / "ratios.json").read_text())["$schema"]
    with pytest.raises(OutputError, match=r"\.png, \.svg and \.json"):
        plot.save(tmp_path / "ratios.gif")
