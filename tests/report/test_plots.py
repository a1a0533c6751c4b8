from dataclasses import replace

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from pages import NATURAL, report

import mixopt
from mixopt.errors import MixtureError, TrialsError
from mixopt.estimate import Estimate
from mixopt.trials import Trials

plots = mixopt.plots


def panels(plot):
    return {axes.get_title(): axes.lines[0].get_xydata() for axes in plot.figure.axes}


def test_ratios_are_bars_in_percent_of_proposal_and_comparison():
    (axes,) = plots.plot_ratios(report().best).figure.axes
    bars = {box.get_label(): [bar.get_width() for bar in box] for box in axes.containers}
    assert bars["proposal"] == pytest.approx([50, 25, 25])
    assert bars["natural"] == pytest.approx([20, 30, 50])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["birds", "ships", "sums"]


def test_gains_are_points_with_95_percent_intervals():
    proposal = report().best
    (axes,) = plots.plot_gains(proposal).figure.axes
    (comparison,) = proposal.comparisons
    bars = {c.get_label(): c for c in axes.containers if isinstance(c, ErrorbarContainer)}
    for name, gain in (("predicted", Estimate(0.4, 0.2)), ("measured", Estimate(0.1, 0.2))):
        points, _, (lines,) = bars[name]
        assert points.get_xdata().tolist() == [gain.mean]
        (segment,) = lines.get_segments()
        assert segment[:, 0] == pytest.approx(gain.interval)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["over natural"]
    unmeasured = replace(proposal, comparisons=(replace(comparison, measured_gain=None),))
    (axes,) = plots.plot_gains(unmeasured).figure.axes
    assert [c.get_label() for c in axes.containers] == ["predicted"]


def test_gains_need_a_comparison():
    with pytest.raises(MixtureError, match="no comparisons"):
        plots.plot_gains(replace(report().best, comparisons=()))


def test_own_trials_are_cross_validated(surrogate, runs):
    drawn = panels(plots.plot_predicted(surrogate))
    assert list(drawn) == [*(f.metric.name for f in surrogate.metrics), "utility"]
    fitted = surrogate.metrics[0]
    measured = runs.values([fitted.metric])[:, 0]
    assert np.array_equal(drawn[fitted.metric.name].T, [fitted.cv_predictions, measured])


def test_other_trials_are_predicted_whatever_the_order_of_their_domains(surrogate, runs):
    metric = surrogate.metrics[1].metric
    some = runs[:5]
    rows = [replace(run, scores={metric.name: run.scores[metric.name]}) for run in some]
    turned = Trials(rows, [metric], tuple(reversed(runs.domains)))
    drawn = panels(plots.plot_predicted(surrogate, turned))
    mean, _ = surrogate.predict(some.ratios())
    assert list(drawn) == [metric.name]
    assert np.array_equal(drawn[metric.name].T, [mean[:, 1], some.values([metric])[:, 0]])


def test_trials_that_cannot_be_predicted_are_refused(surrogate, runs):
    with pytest.raises(TrialsError, match="no trials"):
        plots.plot_predicted(surrogate, runs[:0])
    with pytest.raises(TrialsError, match="none of the surrogate's metrics"):
        plots.plot_predicted(
            surrogate, Trials([replace(runs[0], scores={})], [mixopt.Metric("other")], runs.domains)
        )


def test_expert_losses_are_changes_in_percent():
    scores = {"base": {"m": 2.0, "n": 1.0}, "birds": {"m": 1.0, "n": 1.1}}
    (axes,) = plots.plot_expert_losses(scores).figure.axes
    assert axes.images[0].get_array().ravel().tolist() == pytest.approx([-50, 10])
    (axes,) = plots.plot_expert_losses(scores, ["n"]).figure.axes
    assert [text.get_text() for text in axes.texts] == ["+10"]


def test_a_loss_that_is_zero_for_the_base_has_a_dash():
    scores = {"base": {"m": 0.0, "n": 1.0}, "birds": {"m": 1.0, "n": 1.1}}
    plot = plots.plot_expert_losses(scores)
    assert [text.get_text() for text in plot.figure.axes[0].texts] == ["–", "+10"]
    assert plot._repr_png_()


def test_a_plot_is_shown_in_notebooks_and_saved(tmp_path):
    plot = plots.plot_ratios(mixopt.Proposal(NATURAL, Estimate(0, 1), {}))
    png = plot._repr_png_()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert plot.save(tmp_path / "ratios.png").read_bytes() == png
    assert 'alt="Ratios of the proposal by domain"' in plot._repr_html_()
