import pytest

from mixopt.report.charts.experts import MAX_LETTERED, experts_picture, percent_changes


def test_changes_are_in_percent_of_the_base_s_loss():
    scores = {"base": {"m": 2.0, "n": 1.0, "zero": 0.0}, "birds": {"m": 1.0, "n": 1.1, "zero": 1.0}}
    changes = percent_changes(scores, ["m", "n", "zero"])["birds"]
    assert (changes["m"], changes["n"]) == pytest.approx((-50, 10))
    assert changes["zero"] != changes["zero"]
    picture = experts_picture(scores, ["m", "n", "zero"])
    assert picture.rows == [("birds", "-50.0%", "+10.0%", "–")]
    (rows,) = picture.spec()["datasets"].values()
    assert [row["text"] for row in rows] == ["-50", "+10", "–"]


def test_with_many_metrics_cells_have_no_numbers():
    names = [f"m{i}" for i in range(MAX_LETTERED + 1)]
    scores = {"base": dict.fromkeys(names, 1.0), "birds": dict.fromkeys(names, 2.0)}
    assert len(experts_picture(scores, names).spec()["layer"]) == 1
    assert len(experts_picture(scores, names[:3]).spec()["layer"]) == 2


def test_one_expert_that_lost_all_does_not_take_the_colours_of_the_others():
    names = [f"m{i}" for i in range(10)]
    base = dict.fromkeys(names, 1.0)
    scores = {"base": base, "birds": {**dict.fromkeys(names, 1.1), "m0": 50.0}}
    text = str(experts_picture(scores, names).spec())
    assert "/ 10.00" in text  # 10% has the full colour, not 4,900%
