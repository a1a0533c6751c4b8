import pytest

from mixopt.config.training import TrainingConfig
from mixopt.training.step_law import resolve_hyperparameters


def test_step_law_against_the_paper_s_examples():
    """N=1.7e9, D=5e10 -> 9.0e-4, 0.75M tokens; N=7e9, D=1.4e12 -> 9.2e-4, 5.0M."""
    for n, d, rate, batch in ((1.7e9, 5e10, 9.0e-4, 0.75e6), (7e9, 1.4e12, 9.2e-4, 5.0e6)):
        found = resolve_hyperparameters(TrainingConfig(tokens=int(d)), int(n))
        assert found.learning_rate == pytest.approx(rate, rel=0.02)
        assert found.batch_tokens == pytest.approx(batch, rel=0.02)
        assert "Step Law (arXiv:2503.04715)" in found.source


def test_config_overrules_the_law_and_says_so():
    found = resolve_hyperparameters(TrainingConfig(tokens=1000, learning_rate=0.5), 1000)
    assert found.learning_rate == 0.5
    assert "learning rate from the config; batch from Step Law" in found.source
