import numpy as np

from mixopt.report.data import PredictedScores
from mixopt.report.figures import draw_expert_losses, draw_predicted, to_png


def scores_of(measured, predicted):
    return PredictedScores(np.array(measured, float), np.array(predicted, float), 0.5, "trees")


def test_heat_map_shows_percent_change_against_the_base():
    scores = {"base": {"m": 2.0, "n": 1.0}, "birds": {"m": 1.0, "n": 1.1}}
    axes = draw_expert_losses(scores, ["m", "n"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["-50", "+10"]


def test_predicted_puts_prediction_across_and_measurement_up():
    figure = draw_predicted({"m": scores_of([1.0, 2.0], [5.0, 6.0])})
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [5.0, 6.0]
    assert line.get_ydata().tolist() == [1.0, 2.0]


def test_unknown_points_are_left_out_not_drawn_at_zero():
    figure = draw_predicted({"m": scores_of([1.0, np.nan, 3.0], [1.0, 2.0, 3.0])})
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1.0, 3.0]


def test_png_is_the_same_each_time():
    def draw():
        return to_png(draw_predicted({"m": scores_of(range(3), range(3))}))

    assert draw()[:8] == b"\x89PNG\r\n\x1a\n"
    assert draw() == draw()
