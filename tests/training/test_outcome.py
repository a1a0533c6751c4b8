from dataclasses import asdict

from mixopt.training.outcome import TrainingOutcome


def test_an_outcome_is_plain_numbers_that_json_keeps():
    outcome = TrainingOutcome("web", 64, 2, ((1, 3.5), (2, 3.25)), 1e9)
    assert TrainingOutcome(**asdict(outcome)) == outcome
