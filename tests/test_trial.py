import numpy as np
import pytest

from mixopt import Metric, Mixture, Trial
from mixopt.errors import ArgumentTypeError, TrialsError


def test_a_trial_takes_plain_ratios_and_scores():
    plain = Trial("x", {"a": 0.5, "b": 0.5}, {"loss": 1.5, "acc": np.float32(0.5)})
    assert isinstance(plain.ratios, Mixture)
    assert plain.scores["loss"].value == 1.5
    assert np.isnan(plain.scores["acc"].std_error)
    with pytest.raises(ArgumentTypeError, match="score of 'loss' is a str"):
        Trial("x", {"a": 1.0}, {"loss": "low"})


def test_other_words_for_kind_better_and_role_are_refused():
    with pytest.raises(TrialsError, match="Trial 'x' is of the kind 'proxy'"):
        Trial("x", {"a": 1.0}, kind="proxy")
    with pytest.raises(TrialsError, match="Metric 'loss' is better 'min'"):
        Metric("loss", "min")
    with pytest.raises(TrialsError, match="Metric 'loss' has the role 'test'"):
        Metric("loss", role="test")


def test_a_fidelity_given_as_a_number_is_named_by_its_digits():
    assert Trial("x", {"a": 1.0}, fidelity=1e9).level == "1000000000"
    assert Trial("x", {"a": 1.0}).level == "trained"
