import pytest
from plans import PATHS, PROPOSAL, SCHEDULE

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.check import check_config


def test_weights_that_a_trainer_takes_as_they_are_must_sum_to_one():
    text = "train-data: [/d/law]\ntrain-data-mix-weights: [0.5]\n"
    (part,) = check_config(PROPOSAL, "open-lm", text, paths=PATHS)
    assert part.total == 0.5
    assert part.written["law"] == 1
    assert part.largest == 1
    assert "the weights sum to 0.500000" in part.notes[0]


def test_documents_are_turned_back_into_tokens():
    text = mixopt.export(PROPOSAL, "trl", paths=PATHS)
    (part,) = check_config(PROPOSAL, "trl", text, paths=PATHS)
    assert part.written["web"] == pytest.approx(2 / 3, abs=1e-6)


def test_nothing_to_draw():
    with pytest.raises(ExportError, match="sum to zero"):
        check_config(PROPOSAL, "json", '{"token_ratios": {"web": 0}}')


def test_phases_are_compared_one_by_one():
    first, second = check_config(SCHEDULE, "json", mixopt.export(SCHEDULE, "json"))
    assert first.phase == "stable"
    assert second.written["law"] == 0.25
