import json

import numpy as np
import pytest

from mixopt.optimization.validation import Cost, Purchase, RankFidelity, Validation


def test_sentence_and_plain_form():
    row = RankFidelity("overall", "merged", 0.5, (0.1, 0.8), 0.9, 0.3, 0.5)
    validation = Validation(
        (row,), ("a", "b"), (0.0, 1.0), 0.2, {"merged": 0.0}, (0.1,), 1, Cost(1, 2.0, 3, 4.0)
    )
    assert "2 trained mixtures x 1 seeds: merged rank +0.50 [+0.10, +0.80]" in validation.sentence
    assert json.loads(json.dumps(validation.to_dict()))["fidelities"][0]["ceiling"] == 0.9


def test_attainable_is_the_root_of_the_means_reliability():
    """Simulated: a perfect proxy against the mean of two noisy seeds."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200_000)
    seeds = [truth + 0.7 * rng.normal(size=len(truth)) for _ in range(2)]
    ceiling = float(np.corrcoef(*seeds)[0, 1])
    reached = float(np.corrcoef(truth, np.mean(seeds, axis=0))[0, 1])
    row = RankFidelity("x", "merged", 0.5, (0.1, 0.8), ceiling, 0.3, 0.5, seeds=2)
    assert row.attainable == pytest.approx(reached, abs=0.005)
    assert np.isnan(RankFidelity("x", "merged", 0.5, (0.1, 0.8), -0.2, 0.3, 0.5).attainable)


@pytest.mark.parametrize(
    ("spearman", "low", "mixtures", "earned", "failed"),
    [
        (0.9, 0.1, 6, True, False),
        (0.5, -0.1, 6, False, False),  # too few to tell
        (0.5, -0.1, 10, False, True),
        (-0.2, -0.8, 4, False, True),
        (float("nan"), float("nan"), 12, False, False),
    ],
)
def test_a_proxy_fails_only_where_enough_was_trained_to_tell(
    spearman, low, mixtures, earned, failed
):
    row = RankFidelity("overall", "merged", spearman, (low, 0.9), 0.9, 0.3, 0.5, 2, mixtures)
    assert (row.earned, row.failed) == (earned, failed)
    assert made([row]).overall("merged") is row
    assert made([row]).overall("ensembled") is None


def test_advice_names_what_is_worth_its_tokens():
    bought = (
        Purchase("merges", 16, 0.02, 1000.0, False),
        Purchase("experts", 1, 0.1, 50_000.0, True),
        Purchase("runs", 8, 0.001, 80_000.0, False),
    )
    told = made([], purchases=bought).advice
    assert "16 more candidates: about +0.020 of rank for 1,000 tokens" in told
    assert "twice as long: at most +0.100" in told
    assert "real runs" not in told
    assert made([]).advice.startswith("Neither")


def test_a_gain_that_costs_no_training_is_the_most_for_its_tokens():
    free = Purchase("merges", 32, 0.02, 0.0, False)
    assert free.per_token > Purchase("experts", 1, 0.9, 1.0, True).per_token
    assert Purchase("merges", 32, 0.0, 0.0, False).per_token == 0
    assert free.sentence.endswith("about +0.020 of rank for no tokens of training")


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({}, "Nothing here is a result"),
        ({"result": ("quiz",)}, "There is no result: the holdout benchmarks (quiz)"),
        ({"result": ("quiz",), "result_gain": (0.1, -0.2)}, "by seed: +0.10, -0.20 sd"),
    ],
)
def test_only_what_chose_nothing_is_a_result(says, words):
    assert words in made([], **says).result_sentence


def made(rows, **says):
    return Validation(tuple(rows), ("a",), (0.0,), 0.2, {}, (), 1, Cost(1, 2.0, 3, 4.0), **says)
