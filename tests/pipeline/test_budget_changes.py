"""Budgets that are killed, run again, raised and bought in other batches, over a made-up store."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from mixopt import Mixture
from mixopt.decision import SPREADS
from mixopt.pipeline import budget, run_ledger, stored_purchases
from mixopt.pipeline.budget import BudgetSpender
from mixopt.pipeline.mixture_runs import FRESH, ScoredRun

UNIT, LENGTHS = 10, (10, 40)
NATURAL = np.array([0.5, 0.3, 0.2])
CANDIDATES = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.6, 0.1, 0.3]])


class KilledError(Exception):
    pass


@pytest.fixture
def spend(monkeypatch):
    """Spend a budget over a store; the value of a run is a number that follows from what is known."""
    kept = {}

    def spend(store, world, units, *, batch=1, seeds=1, kill_after=None):
        sought = kept.setdefault(world, {})
        left, candidates = [kill_after], CANDIDATES[: 1 + world % 3]

        def train_runs(_, specs):
            rng = np.random.default_rng([world, len(store)])
            # workers end in any order
            for index in rng.permutation(len(specs)):
                spec = specs[index]
                if spec not in store:
                    if left[0] == 0:
                        raise KilledError
                    left[0] = None if left[0] is None else left[0] - 1
                    store.append(spec)
            for spec in specs:
                yield spec, ScoredRun(spec, dict.fromkeys(spec.checkpoints, 1.0), 0.0)

        def draw(known, *key):
            text = repr((world, sorted(known), key)).encode()
            return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") / 2**32

        def value_of_runs(posterior, _, at, __):
            known = posterior.known
            decay = 0.5 ** (1 + world % 4) ** -0.5
            return np.array([
                0.2 * decay ** len(known) * draw(known, row.tolist(), tokens) * tokens**0.5
                for row, tokens in zip(at.ratios, at.tokens, strict=True)
            ])  # fmt: skip

        def condition(known):
            def told_of(asked, *_):
                means = np.array([[draw(known, row.tolist())] for row in asked.ratios])
                return means, np.zeros((len(means), 1, len(means), 1))

            told = SimpleNamespace(gains=lambda _: (np.zeros((1, 1)), None))
            return SimpleNamespace(known=known, over_natural=told, gains=told_of)

        def search_candidate(posterior, candidates, observed):
            key = repr((len(candidates), sorted(posterior.known), len(observed)))
            rng = np.random.default_rng([world, *key.encode()])
            if rng.random() < 0.5:
                return None
            row = rng.dirichlet(np.ones(3)).round(6)
            row[0] = 1 - row[1:].sum()
            sought.setdefault(key, row)
            return sought[key]

        def mixtures(rows, tokens):
            lengths = np.broadcast_to(tokens, len(rows))
            return SimpleNamespace(
                ratios=rows, tokens=lengths,
                pick=lambda places, n=None: mixtures(rows[places], lengths[places] if n is None else n),
            )  # fmt: skip

        def observe(observations):
            rows = [(e.ratios.tolist(), e.seed, e.tokens) for e in observations]
            return [row for row in rows if row[0] != NATURAL.tolist()]

        names = {
            "value_of_runs": value_of_runs,
            "_append": lambda runs, row, _, seed: [*runs, (row.ratios[0].tolist(), seed,
                                                           int(row.tokens[0]))],
            "choose": lambda _, __, ___, runs: (None, None, SimpleNamespace(candidate=0)),
            "has_ended": lambda _, spec: spec in store,
            "has_text": lambda *_: True,
        }  # fmt: skip
        for name, own in names.items():
            monkeypatch.setattr(budget, name, own)
        monkeypatch.setattr(run_ledger, "train_runs", train_runs)
        monkeypatch.setattr(stored_purchases, "has_ended", names["has_ended"])
        monkeypatch.setattr(BudgetSpender, "_report_best", lambda *_: None)
        training = SimpleNamespace(
            tokens=UNIT, decays=world % 2 == 1, max_epochs=9, expert_length=5
        )
        config = SimpleNamespace(
            training=training, domains=("a", "b", "c"), run_lengths=LENGTHS,
            budget_tokens=units * UNIT, budget=SimpleNamespace(batch=batch, confirmation=seeds),
        )  # fmt: skip
        counts = dict.fromkeys("abc", SimpleNamespace(tokens=10**6))
        context = SimpleNamespace(
            config=config, compositions={}, given_experts={},
            corpora=SimpleNamespace(natural=Mixture.from_vector(list("abc"), NATURAL), counts=counts),
            scorer=SimpleNamespace(read=lambda score: {"loss": SimpleNamespace(score=score)}),
            callbacks=SimpleNamespace(message=lambda _: None, warning=lambda *_: None),
        )  # fmt: skip
        objective = SimpleNamespace(
            combinations=lambda: np.ones((1, 1)), usual_gain=1.0, gain_unit=SPREADS
        )
        gains = SimpleNamespace(
            natural=NATURAL, metrics=[SimpleNamespace(name="loss")], tokens=40, objective=objective,
            observe=observe, mixtures=mixtures, condition=condition,
        )  # fmt: skip
        refinement = SimpleNamespace(
            search=search_candidate, found_before=lambda: list(sought.values())
        )
        spender = BudgetSpender(context, gains, candidates, refinement=refinement)
        bought = spender.spend()
        assert spender.spent <= units * UNIT
        return {(each.ratios.tobytes(), each.seed, each.tokens) for each in bought}

    return spend


def bought_to_choose(runs):
    return {run for run in runs if run[1] < FRESH}


WORLDS = range(60)


def test_a_budget_that_is_run_again_trains_nothing(spend):
    sizes, mixtures = set(), set()
    for world in WORLDS:
        store = []
        first = spend(store, world, 30, batch=1 + world % 3)
        mixtures |= {ratios for ratios, *_ in first}
        trained = len(store)
        assert spend(store, world, 30, batch=1 + world % 3) == first
        assert len(store) == trained
        sizes.add(trained)
    assert len(sizes) > 5  # some end early and some spend all
    assert len(mixtures) > 5 * len(CANDIDATES)  # most were searched after runs


def test_a_budget_that_was_killed_ends_with_the_same_runs(spend):
    for world in WORLDS:
        whole, store = [], []
        batch = 1 + world % 3
        first = spend(whole, world, 30, batch=batch)
        while True:
            try:
                found = spend(store, world, 30, batch=batch, kill_after=1)
            except KilledError:
                continue
            break
        assert found == first
        assert {*store} == {*whole}


@pytest.mark.parametrize(("units", "batch"), [((14, 30), (1, 1)), ((5, 60), (1, 1)), ((20, 21), (1, 1)),
                                              ((30, 30), (1, 3)), ((12, 40), (2, 1))])  # fmt: skip
def test_a_budget_that_changed_keeps_its_runs_and_ends(spend, units, batch):
    for world in WORLDS:
        store = []
        first = spend(store, world, units[0], batch=batch[0])
        second = spend(store, world, units[1], batch=batch[1])
        assert bought_to_choose(first) <= second
        trained = len(store)
        assert spend(store, world, units[1], batch=batch[1]) == second
        assert len(store) == trained
