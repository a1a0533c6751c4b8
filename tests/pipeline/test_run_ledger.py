from types import SimpleNamespace

import numpy as np
import pytest

from mixopt.errors import DivergedError
from mixopt.mixture import Mixture
from mixopt.pipeline.decide import VALIDATED
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.mixture_runs import ScoredRun
from mixopt.pipeline.run_ledger import RunLedger, count_tokens, is_same

UNIT = 100
NATURAL, A, B = np.array([0.5, 0.5]), np.array([0.8, 0.2]), np.array([0.2, 0.8])


@pytest.fixture
def open_ledger(monkeypatch):
    """Open a ledger whose runs are recorded instead of trained; runs of B fail."""

    def open_ledger(known=(), decays=False):
        asked, told = [], []

        def train_runs(_, specs):
            asked.extend(specs)
            for spec in specs:
                if spec.ratios["a"] == B[0]:
                    yield spec, DivergedError("The loss is infinite.")
                else:
                    yield spec, ScoredRun(spec, dict.fromkeys(spec.checkpoints), 0.0)

        monkeypatch.setattr("mixopt.pipeline.run_ledger.train_runs", train_runs)
        scores = {"loss": SimpleNamespace(score=1.0)}
        context = SimpleNamespace(
            config=SimpleNamespace(domains=("a", "b"), training=SimpleNamespace(decays=decays)),
            corpora=SimpleNamespace(natural=Mixture({"a": 0.5, "b": 0.5})),
            scorer=SimpleNamespace(read=lambda _: scores),
            callbacks=SimpleNamespace(warning=lambda text, _: told.append(text)),
        )
        gains = SimpleNamespace(natural=NATURAL, metrics=[SimpleNamespace(name="loss")])
        return RunLedger(context, gains, (UNIT, 4 * UNIT), known, 150), asked, told

    return open_ledger


def seen(ratios, seed, scores=(1.0,), tokens=UNIT):
    return Observation(ratios, seed, tokens, np.array(scores))


def test_a_long_run_has_the_short_one_as_a_checkpoint(open_ledger):
    ledger, *_ = open_ledger()
    ledger.train([(A, 0, 4 * UNIT)])
    assert [(o.seed, o.tokens) for o in ledger.observations] == [(0, UNIT), (0, 4 * UNIT)]
    assert ledger.is_trained(A, 0, UNIT)
    assert not ledger.is_trained(A, 1, UNIT)
    assert (ledger.longest(A), ledger.longest(B)) == (4 * UNIT, 0)
    assert ledger.spent == 150 + 4 * UNIT


def test_with_a_decaying_rate_it_has_not(open_ledger):
    ledger, *_ = open_ledger(decays=True)
    ledger.train([(A, 0, 4 * UNIT)])
    assert [o.tokens for o in ledger.observations] == [4 * UNIT]
    assert not ledger.is_trained(A, 0, UNIT)
    assert (ledger.has({4 * UNIT}, UNIT), ledger.has({UNIT}, UNIT)) == (False, True)


def test_a_run_that_failed_is_told_once_and_paid_for(open_ledger):
    ledger, _, told = open_ledger()
    for _ in range(2):
        ledger.train([(B, 0, UNIT)])
        assert ledger.failed(B)
        assert ledger.failed(B, 0)
        assert not ledger.failed(B, 1)
        assert ledger.spent == 150 + UNIT
        assert [o.failed for o in ledger.observations] == [True]
        ledger.reset()
        assert not ledger.failed(B)
    (warning,) = told
    assert "is left out: The loss is infinite." in warning


def test_what_was_trained_is_read_again_after_a_reset(open_ledger):
    ledger, asked, _ = open_ledger()
    ledger.train([(A, 0, UNIT)])
    (spec,) = asked
    assert ledger.used == {spec}
    ledger.reset()
    assert (ledger.spent, ledger.runs, ledger.used) == (150, [], set())
    assert spec in ledger.ended
    ledger.train([(A, 0, UNIT)])
    assert asked == [spec]
    assert len(ledger.runs) == 1


def test_runs_of_a_search_are_paid_for_and_those_of_a_validation_are_not(open_ledger):
    known = [seen(A, 0), seen(A, 0, tokens=UNIT // 2), seen(A, VALIDATED), seen(B, 1, (np.nan,))]
    ledger, *_ = open_ledger(known)
    assert ledger.spent == 150 + 2 * UNIT
    assert ledger.failed(B, 1)
    assert ledger.is_known(ledger.specify(A, 0, UNIT))
    assert not ledger.is_known(ledger.specify(A, 1, UNIT))
    # the same score is no second observation
    ledger.train([(A, 0, 4 * UNIT)])
    assert [o.tokens for o in ledger.observations] == [4 * UNIT]


def test_mixtures_and_tokens(open_ledger):
    ledger, *_ = open_ledger()
    assert ledger.mixture(A) == Mixture({"a": 0.8, "b": 0.2})
    specs = [ledger.specify(A, 0, UNIT), ledger.specify(A, 1, 4 * UNIT)]
    assert count_tokens(specs) == 5 * UNIT
    assert is_same(A, A + 1e-12)
    assert not is_same(A, B)
