from types import SimpleNamespace

import pytest

from mixopt import Mixture
from mixopt.pipeline import stored_purchases
from mixopt.pipeline.stored_purchases import find_stored_purchases, specify_purchase

DOMAINS = ("a", "b")
NATURAL, OTHER = Mixture({"a": 0.6, "b": 0.4}), Mixture({"a": 0.2, "b": 0.8})


def study(decays=False, b=10**6):
    training = SimpleNamespace(tokens=40, decays=decays, max_epochs=1)
    counts = {"a": SimpleNamespace(tokens=10**6), "b": SimpleNamespace(tokens=b)}
    return SimpleNamespace(
        config=SimpleNamespace(training=training, domains=DOMAINS),
        corpora=SimpleNamespace(natural=NATURAL, counts=counts),
    )


@pytest.mark.parametrize(
    ("decays", "ratios", "seed", "tokens", "checkpoints"),
    [
        (False, NATURAL, 0, 40, (10, 20, 40)),  # natural's first runs tell its own curve
        (False, NATURAL, 0, 160, (40, 160)),
        (False, NATURAL, 2, 40, (40,)),
        (False, OTHER, 0, 160, (40, 160)),
        (True, NATURAL, 0, 40, (40,)),
        (True, OTHER, 0, 160, (160,)),
    ],
)
def test_the_checkpoints_of_a_run(decays, ratios, seed, tokens, checkpoints):
    spec = specify_purchase(study(decays), (40, 160), ratios, seed, tokens)
    assert spec.checkpoints == checkpoints
    assert (spec.seed, spec.ratios) == (seed, ratios)


def find(monkeypatch, stored, **changes):
    asked = []

    def has_ended(_, spec):
        asked.append(spec)
        return (spec.ratios, spec.seed, spec.checkpoints[-1]) in stored

    monkeypatch.setattr(stored_purchases, "has_ended", has_ended)
    found = find_stored_purchases(study(**changes), (40, 160), [NATURAL, OTHER])
    assert len(asked) < 20
    return [(spec.ratios, spec.seed, spec.checkpoints[-1]) for spec in found]


def test_runs_are_found_at_each_length_and_seed_but_those_of_a_confirmation(monkeypatch):
    stored = [(NATURAL, 0, 40), (NATURAL, 2, 160), (OTHER, 0, 40), (OTHER, 0, 160), (OTHER, 1, 160)]
    assert find(monkeypatch, [*stored, (NATURAL, 1000, 40)]) == stored


def test_a_run_whose_text_is_not_enough_any_more_is_not_asked_for(monkeypatch):
    stored = [(OTHER, 0, 40), (OTHER, 0, 160)]
    assert find(monkeypatch, stored, b=100) == stored[:1]
