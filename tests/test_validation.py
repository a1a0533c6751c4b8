import json

from mixopt.validation import Cost, RankFidelity, Validation


def test_sentence_and_plain_form():
    row = RankFidelity("overall", "merged", 0.5, (0.1, 0.8), 0.9, 0.3, 0.5)
    validation = Validation(
        (row,), ("a", "b"), (0.0, 1.0), 0.2, {"merged": 0.0}, (0.1,), 1, Cost(1, 2.0, 3, 4.0)
    )
    assert "2 trained mixtures x 1 seeds: merged rank +0.50 [+0.10, +0.80]" in validation.sentence
    assert json.loads(json.dumps(validation.to_dict()))["fidelities"][0]["ceiling"] == 0.9
