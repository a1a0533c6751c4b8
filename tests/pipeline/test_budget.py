import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import toy

from mixopt import Mixture
from mixopt.callbacks.callback_list import CallbackList
from mixopt.errors import ConfigError, DataError, DivergedError, RunError
from mixopt.pipeline.budget import BudgetSpender
from mixopt.pipeline.decide import FRESH
from mixopt.pipeline.gain_curve import choose
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.mixture_runs import ScoredRun, name_mixture, train_runs
from mixopt.pipeline.purchase import Purchase
from mixopt.training import trainer

SEARCH = {"rounds": [6], "natural": {"birds": 0.8, "ships": 0.1, "sums": 0.1}}
UNIT = 2048
TRAINING = {"tokens": UNIT, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 99}


def open_toy(folder, runs=14, training=None, **budget):
    section = {"runs": runs, "longest": 2, "confirmation": 1} | budget
    training = TRAINING | (training or {})
    path = toy.write_study(folder, search=SEARCH, training=training, budget=section)
    return toy.load(folder, path)


@pytest.fixture(scope="module")
def spent(tmp_path_factory):
    study = open_toy(tmp_path_factory.mktemp("budget"))
    trials = study.search()
    bought = study.spend(trials=trials)
    return study, trials, bought


def is_natural(each):
    return np.abs(each.ratios - [0.8, 0.1, 0.1]).max() < 1e-9


def test_what_is_bought_fits_the_budget_and_natural_comes_first(spent):
    study, _, bought = spent
    # natural's first runs are scored at a quarter and half of their length too, for its own curve
    assert all(is_natural(each) for each in bought[:6])
    assert [(each.seed, each.tokens) for each in bought[:6]] == [
        (seed, UNIT // part) for seed in (0, 1) for part in (4, 2, 1)
    ]
    # every run is paid for at its full length; its shorter lengths come with it
    lengths = {}
    for each in bought:
        key = each.ratios.tobytes(), each.seed
        lengths[key] = max(lengths.get(key, 0), each.tokens)
    assert 3 * UNIT + sum(lengths.values()) <= 14 * UNIT
    others = [each for each in bought if not is_natural(each)]
    assert others
    naturals = {(each.seed, each.tokens) for each in bought if is_natural(each)}
    assert {(each.seed, each.tokens) for each in others} <= naturals


def test_the_confirmation_has_unused_seeds_and_the_fixed_length(spent):
    study, trials, bought = spent
    fresh = [each for each in bought if each.seed >= FRESH]
    assert {each.seed for each in fresh} == {FRESH}
    assert max(each.tokens for each in fresh) == 2 * UNIT
    assert sum(is_natural(each) for each in fresh) == len(fresh) / 2
    (proposal,) = study.propose(trials)
    decision = proposal.decision
    assert decision.runs > 2
    assert (decision.equivalent_tokens is None) == bool(decision.no_equivalent)
    assert decision.equivalent
    # said where the confirmed mixture is still the best one
    assert decision.confirmation is not None
    assert decision.expected_before.std_error > 0
    assert decision.expected_before.mean != decision.confirmation.mean
    table = pd.read_csv(study.output / "runs.csv")
    assert len(table) == len(bought)
    ratios = table[["ratio/birds", "ratio/ships", "ratio/sums"]]
    assert ratios.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(bought)))


def test_a_second_process_finds_the_same_runs_and_trains_nothing(spent, monkeypatch):
    study, _, bought = spent
    again = toy.load(study.output.parent, study.output.parent / "toy.yaml")
    monkeypatch.setattr("mixopt.training.trainer.train", lambda *_, **__: pytest.fail("trained"))
    found = again.spend(trials=again.search())
    assert [(e.seed, e.tokens) for e in found] == [(e.seed, e.tokens) for e in bought]
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(found, bought, strict=True))
    rows = {row.what: row.state for row in again.status()}
    assert rows["runs of the budget"] == "done"


def test_a_decision_looks_between_candidates_unless_one_was_confirmed(tmp_path, spent, monkeypatch):
    toy.copy_trained(spent[0].output.parent, tmp_path)
    asked = []

    def search_between(gains, posterior, candidates):
        asked.append(candidates)
        return posterior.runs.ratios[0] * 0.5 + gains.natural * 0.5

    monkeypatch.setattr("mixopt.pipeline.decide.search_between", search_between)
    for confirmation, looks in ((1, False), (0, True)):
        study = open_toy(tmp_path, confirmation=confirmation)
        trials = study.search()
        study.spend(trials=trials)
        asked.clear()
        shutil.rmtree(study.output / "artifacts" / "proposals")
        study.propose(trials)
        assert bool(asked) is looks


def test_status_of_a_budget_that_is_not_spent(tmp_path):
    study = open_toy(tmp_path)
    rows = {row.what: row.state for row in study.status()}
    assert rows["runs of the budget"] == "left"


def test_a_batch_is_chosen_together(tmp_path, spent):
    toy.copy_trained(spent[0].output.parent, tmp_path)
    study = open_toy(tmp_path, batch=2)
    bought = study.spend(trials=study.search())
    assert len(bought) > 4


def test_two_runs_that_promise_little_end_the_budget_in_any_batch(tmp_path, spent, monkeypatch):
    toy.copy_trained(spent[0].output.parent, tmp_path)
    shutil.rmtree(tmp_path / "out" / "artifacts" / "runs")
    monkeypatch.setattr(
        "mixopt.pipeline.budget.value_of_runs",
        lambda _, __, options, ___: np.full(len(options.tokens), 0.01),
    )
    study = open_toy(tmp_path, runs=30, batch=8, confirmation=0)
    bought = study.spend(trials=study.search())
    others = {(each.ratios.tobytes(), each.seed) for each in bought if not is_natural(each)}
    assert len(others) == 2


def test_a_run_that_is_worth_little_for_its_tokens_goes_on_where_a_longer_one_is_worth_more(
    tmp_path, spent, monkeypatch
):
    toy.copy_trained(spent[0].output.parent, tmp_path)
    shutil.rmtree(tmp_path / "out" / "artifacts" / "runs")
    # by token the short runs are better, and a long one is worth more than a tie
    monkeypatch.setattr(
        "mixopt.pipeline.budget.value_of_runs",
        lambda _, __, options, ___: np.where(options.tokens > UNIT, 0.021, 0.019),
    )
    study = open_toy(tmp_path, runs=14, confirmation=0)
    bought = study.spend(trials=study.search())
    others = {(each.ratios.tobytes(), each.seed) for each in bought if not is_natural(each)}
    assert len(others) > 2


def test_the_confirmation_is_of_what_would_be_recommended(tmp_path, spent, monkeypatch):
    """Not of a mixture with a higher expected gain that is less likely to be better."""
    toy.copy_trained(spent[0].output.parent, tmp_path)
    seen = []

    def choose_last(*given):
        posterior, draws, choice = choose(*given)
        seen.append(given[2].ratios[-1])
        return posterior, draws, replace(choice, candidate=draws.shape[1] - 1)

    monkeypatch.setattr("mixopt.pipeline.budget.choose", choose_last)
    study = open_toy(tmp_path, runs=14)
    bought = study.spend(trials=study.search())
    fresh = [each for each in bought if each.seed >= FRESH and not is_natural(each)]
    assert fresh
    assert all(np.abs(each.ratios - seen[-1]).max() < 1e-9 for each in fresh)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"runs": 5}, r"3 experts, natural with 2 seeds and one candidate need 12,288"),
        ({"runs": 14, "tokens": 9}, "give `tokens` or `runs`"),
        ({}, "give `tokens` or `runs`"),
    ],
)
def test_budgets_that_cannot_be(tmp_path, budget, message):
    with pytest.raises(ConfigError, match=message):
        toy.load(tmp_path, toy.write_study(tmp_path, training=TRAINING, budget=budget))


def test_a_study_without_budget(toy_folder):
    study = toy.load(toy_folder)
    with pytest.raises(ConfigError, match="no `budget` section"):
        study.spend()


def test_with_a_decaying_rate_natural_has_no_early_lengths(tmp_path):
    path = toy.write_study(tmp_path, search=SEARCH, budget={"runs": 9, "confirmation": 0},
                           training=TRAINING | {"schedule": "linear"})  # fmt: skip
    bought = toy.load(tmp_path, path).spend()
    assert {each.tokens for each in bought} <= {UNIT, 4 * UNIT}


def failing(monkeypatch, fails):
    real = trainer.train

    def train(*arguments, name, **options):
        if name.startswith("mix-") and fails(name):
            raise DivergedError(f"The loss of {name!r} stopped being finite at step 3; lower it.")
        return real(*arguments, name=name, **options)

    monkeypatch.setattr(trainer, "train", train)


@pytest.fixture
def unspent(tmp_path, spent):
    """The study before its budget was spent."""
    toy.copy_trained(spent[0].output.parent, tmp_path)
    shutil.rmtree(tmp_path / "out" / "artifacts" / "runs")
    return open_toy(tmp_path, runs=9, confirmation=0)


def test_a_natural_mixture_that_diverges_is_named_and_nothing_is_half_written(unspent, monkeypatch):
    failing(monkeypatch, lambda name: True)
    with pytest.raises(RunError, match="The natural mixture could not be trained") as error:
        unspent.spend(trials=unspent.search())
    assert "stopped being finite at step 3; lower it." in str(error.value)
    assert "\n" not in str(error.value)
    assert any(
        "natural mixture with seed 1 is left out" in one for one in unspent.callbacks.warnings
    )
    assert not (unspent.output / "runs.csv").exists()
    assert not list((unspent.output / "artifacts").glob("runs/mix-*"))


def test_one_seed_of_natural_that_diverges_is_not_compared_with(unspent, monkeypatch):
    natural = name_mixture(Mixture(SEARCH["natural"]))
    failing(monkeypatch, lambda name: name == f"{natural}-0")
    bought = unspent.spend(trials=unspent.search())
    assert all(each.seed > 0 for each in bought if not each.failed)
    assert [(is_natural(each), each.seed) for each in bought if each.failed] == [(True, 0)]
    assert any(not is_natural(each) for each in bought)


def test_candidates_that_all_diverge_leave_the_ensembles(unspent, monkeypatch):
    natural = name_mixture(Mixture(SEARCH["natural"]))
    failing(monkeypatch, lambda name: not name.startswith(natural))
    trials = unspent.search()
    bought = unspent.spend(trials=trials)
    assert all(is_natural(each) for each in bought if not each.failed)
    assert any("No candidate could be trained" in one for one in unspent.callbacks.warnings)
    table = pd.read_csv(unspent.output / "runs.csv")
    metrics = table.columns.drop([*table.filter(like="ratio/"), "seed", "tokens"])
    assert table[metrics].isna().all(axis=1).sum() == sum(each.failed for each in bought) > 0
    (proposal,) = unspent.propose(trials)
    assert proposal.decision.runs == 0
    for each in bought:
        if each.failed:
            chosen = proposal.decision.candidate.vector(unspent.config.domains)
            assert np.abs(each.ratios - chosen).max() > 1e-6


@pytest.fixture
def open_spender(tmp_path, monkeypatch):
    """Open a spender over a study whose runs are recorded instead of trained."""

    def open_spender(batches=(), sums=10**9, known=(), **changes):
        budget = {"runs": 60, "longest": 4, "confirmation": 0}
        path = toy.write_study(tmp_path, search=SEARCH, budget=budget,
                               training=TRAINING | changes)  # fmt: skip
        config = toy.load(tmp_path, path).config
        specs = []

        def train_runs(_, wanted):
            specs.extend(wanted)
            for spec in wanted:
                yield spec, ScoredRun(spec, dict.fromkeys(spec.checkpoints), 0.0)

        monkeypatch.setattr("mixopt.pipeline.run_ledger.train_runs", train_runs)
        monkeypatch.setattr("mixopt.pipeline.budget.has_ended", lambda *_: False)
        monkeypatch.setattr("mixopt.pipeline.budget.find_stored_purchases", lambda *_: [])
        texts = SimpleNamespace(
            natural=Mixture(SEARCH["natural"]),
            counts=dict.fromkeys(config.domains, SimpleNamespace(tokens=10**9))
            | {"sums": SimpleNamespace(tokens=sums)},
        )
        scores = {"loss": SimpleNamespace(score=1.0)}
        context = SimpleNamespace(
            config=config, compositions=dict.fromkeys(config.domains), given_experts={},
            callbacks=CallbackList(config, None), scorer=SimpleNamespace(read=lambda _: scores),
            corpora=texts,
        )  # fmt: skip
        gains = SimpleNamespace(natural=np.array(list(SEARCH["natural"].values())),
                                metrics=[SimpleNamespace(name="loss")])  # fmt: skip
        spender = BudgetSpender(context, gains, np.array([A, B]), known)
        left = iter(batches)
        monkeypatch.setattr(spender, "_choose", lambda: next(left, []))
        return spender, specs

    return open_spender


A, B = (0.2, 0.4, 0.4), (0.1, 0.1, 0.8)


def buy(row, tokens, seed, price=0):
    return Purchase(Mixture(dict(zip(toy.WORDS, row, strict=True))), tokens, seed, price, 1.0)


def naturals(specs):
    return [(s.seed, s.checkpoints) for s in specs if s.ratios == Mixture(SEARCH["natural"])]


def test_with_a_decaying_rate_a_long_run_tells_nothing_of_a_short_one(open_spender):
    batches = [[buy(A, 4 * UNIT, 2)], [buy(B, UNIT, 2)]]
    spender, specs = open_spender(batches, schedule="cosine")
    bought = spender.spend()
    assert {spec.checkpoints for spec in specs} == {(UNIT,), (4 * UNIT,)}
    # a run is compared with natural's finished run of the same length alone
    assert naturals(specs) == [(0, (UNIT,)), (1, (UNIT,)), (2, (4 * UNIT,)), (2, (UNIT,))]
    lengths = [(each.seed, each.tokens) for each in bought if not is_natural(each)]
    assert lengths == [(2, 4 * UNIT), (2, UNIT)]


@pytest.mark.parametrize("longest_first", [True, False])
def test_runs_of_a_batch_share_the_natural_run_of_their_seed(open_spender, longest_first):
    batch = [buy(A, 4 * UNIT, 2), buy(B, UNIT, 2)]
    spender, specs = open_spender([batch if longest_first else batch[::-1]])
    bought = spender.spend()
    assert naturals(specs)[2:] == [(2, (UNIT, 4 * UNIT))]
    # experts, natural's first runs, and the batch
    assert spender.spent == (3 + 2 + 4 + 4 + 1) * UNIT
    pairs = {(each.seed, each.tokens) for each in bought if is_natural(each)}
    assert {(2, UNIT), (2, 4 * UNIT)} <= pairs


@pytest.mark.parametrize(
    ("schedule", "first", "prices"),
    [
        ("constant", 4 * UNIT, {UNIT: UNIT, 4 * UNIT: 4 * UNIT}),
        ("constant", UNIT, {UNIT: UNIT, 4 * UNIT: 7 * UNIT}),
        ("linear", UNIT, {UNIT: UNIT, 4 * UNIT: 8 * UNIT}),
        ("linear", 4 * UNIT, {UNIT: 2 * UNIT, 4 * UNIT: 4 * UNIT}),
    ],
)
def test_a_run_pays_for_what_its_batch_does_not_train_of_natural(
    open_spender, schedule, first, prices
):
    spender, _ = open_spender([[buy(B, 4 * UNIT, 0), buy(B, 4 * UNIT, 1), buy(B, UNIT, 0),
                                buy(B, UNIT, 1)]], schedule=schedule)  # fmt: skip
    spender.spend()
    options = spender._options(np.array([1]), [buy(A, first, 2)], 99 * UNIT)
    assert {p.tokens: p.price for _, p in options if p.seed == 2} == prices


def test_a_natural_run_that_exists_is_trained_again_for_a_longer_one_beside_a_short_one_of_the_batch(
    open_spender,
):
    spender, specs = open_spender([[buy(A, UNIT, 0), buy(B, 4 * UNIT, 0)]])
    spender._ledger.train([(spender._gains.natural, seed, UNIT) for seed in (0, 1)])
    options = spender._options(np.array([1]), [buy(A, UNIT, 0)], 99 * UNIT)
    price = next(p.price for _, p in options if (p.tokens, p.seed) == (4 * UNIT, 0))
    before = spender.spent
    spender._ledger.train(spender._list_runs([buy(A, UNIT, 0), buy(B, 4 * UNIT, 0)]))
    assert spender.spent - before == UNIT + price


def test_with_a_decaying_rate_runs_of_a_batch_pay_for_natural_at_each_length(open_spender):
    batch = [buy(A, 4 * UNIT, 2), buy(B, UNIT, 2)]
    spender, specs = open_spender([batch], schedule="linear")
    spender.spend()
    assert naturals(specs)[2:] == [(2, (4 * UNIT,)), (2, (UNIT,))]
    assert spender.spent == (3 + 2 + 4 + 4 + 1 + 1) * UNIT


def test_runs_are_seen_in_the_order_in_which_they_were_asked_for(open_spender, monkeypatch):
    spender, _ = open_spender([[buy(A, UNIT, 2), buy(B, UNIT, 2)]])
    in_turn = [(each.seed, each.ratios.tolist()) for each in spender.spend()]

    def end_backwards(_, wanted):
        for spec in reversed(wanted):
            yield spec, ScoredRun(spec, dict.fromkeys(spec.checkpoints), 0.0)

    spender, _ = open_spender([[buy(A, UNIT, 2), buy(B, UNIT, 2)]])
    monkeypatch.setattr("mixopt.pipeline.run_ledger.train_runs", end_backwards)
    assert [(each.seed, each.ratios.tolist()) for each in spender.spend()] == in_turn


def test_a_raised_budget_takes_no_run_back_and_stays_within_its_tokens(tmp_path, spent):
    """A little more pays for a confirmation of twice the length, which would leave less for runs."""
    toy.copy_trained(spent[0].output.parent, tmp_path)
    shutil.rmtree(tmp_path / "out" / "artifacts" / "runs")
    small = open_toy(tmp_path, runs=10)
    first = small.spend(trials=small.search())
    assert max(each.tokens for each in first if each.seed >= FRESH) == UNIT
    raised = open_toy(tmp_path, runs=11)
    second = raised.spend(trials=raised.search())
    before, after = ({(each.ratios.tobytes(), each.seed, each.tokens) for each in runs
                      if each.seed < FRESH} for runs in (first, second))  # fmt: skip
    assert before <= after
    assert max(each.tokens for each in second if each.seed >= FRESH) == UNIT
    assert count_trained(second) <= (11 - 3) * UNIT
    # a study that starts with the higher budget confirms at the longer length
    fresh = open_toy(toy.copy_trained(tmp_path, tmp_path / "fresh"), runs=11)
    shutil.rmtree(tmp_path / "fresh" / "out" / "artifacts" / "runs")
    third = fresh.spend(trials=fresh.search())
    assert max(each.tokens for each in third if each.seed >= FRESH) == 2 * UNIT


def count_trained(bought):
    lengths = {}
    for each in bought:
        key = each.ratios.tobytes(), each.seed
        lengths[key] = max(lengths.get(key, 0), each.tokens)
    return sum(lengths.values())


def worth(monkeypatch, **values):
    """Make a run of a length worth a number of spreads, whatever is known of its mixture."""
    by_units = {int(name.removeprefix("x")): value for name, value in values.items()}
    monkeypatch.setattr(
        "mixopt.pipeline.budget.value_of_runs",
        lambda _, __, options, ___: np.array([by_units[int(n) // UNIT] for n in options.tokens]),
    )


def start_anew(folder, spent):
    toy.copy_trained(spent[0].output.parent, folder)
    shutil.rmtree(folder / "out" / "artifacts" / "runs")


def keys(bought):
    return [(each.ratios.tolist(), each.seed, each.tokens) for each in bought]


def test_a_budget_that_was_spent_buys_nothing_more(tmp_path, spent, monkeypatch):
    """Also where two choices without promise ended it, beside tokens that are kept to confirm."""
    start_anew(tmp_path, spent)
    worth(monkeypatch, x1=0.012, x4=0.03)
    budget = {"runs": 20, "longest": 4, "confirmation": 1}
    study = open_toy(tmp_path, **budget)
    bought = study.spend(trials=study.search())
    assert {each.tokens for each in bought if each.seed >= FRESH} == {UNIT, 4 * UNIT}
    assert len({(each.ratios.tobytes(), each.seed) for each in bought
                if not is_natural(each) and each.seed < FRESH}) == 2  # fmt: skip
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained"))
    again = open_toy(tmp_path, **budget)
    assert keys(again.spend(trials=again.search())) == keys(bought)
    later = open_toy(tmp_path, **budget)
    later.propose(later.search())
    assert keys(later.open_policy().observations) == keys(bought)


@pytest.mark.parametrize(("change", "confirmation"), [({"runs": 20}, 0), ({"batch": 4}, 1)])
def test_a_budget_that_changed_keeps_all_that_was_bought(
    tmp_path, spent, monkeypatch, change, confirmation
):
    start_anew(tmp_path, spent)
    # a long run is best for its tokens where it can be paid for
    worth(monkeypatch, x1=0.03, x4=0.5)
    budget = {"runs": 12, "longest": 4, "confirmation": confirmation}
    study = open_toy(tmp_path, **budget)
    first = study.spend(trials=study.search())
    assert all(each.tokens <= UNIT for each in first if each.seed < FRESH)
    changed = open_toy(tmp_path, **budget | change)
    second = changed.spend(trials=changed.search())
    before = [key for key in keys(first) if key[1] < FRESH]
    assert [key for key in before if key not in keys(second)] == []
    assert count_trained(second) <= (changed.config.budget.runs - 3) * UNIT
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained"))
    again = open_toy(tmp_path, **budget | change)
    assert keys(again.spend(trials=again.search())) == keys(second)


def test_a_raised_budget_chooses_by_what_was_bought_before(tmp_path, spent, monkeypatch):
    start_anew(tmp_path, spent)
    worth(monkeypatch, x1=0.03, x4=0.5)
    small = open_toy(tmp_path, runs=12, longest=4, confirmation=0)
    first = small.spend(trials=small.search())
    counts = []
    monkeypatch.setattr(
        "mixopt.pipeline.run_ledger.train_runs",
        lambda context, specs: counts.append(len(specs)) or train_runs(context, specs),
    )
    raised = open_toy(tmp_path, runs=40, longest=4, confirmation=0)
    said = []
    raised.callbacks.message = said.append
    raised.spend(trials=raised.search())
    # natural's first runs, then all that was bought before, at once
    assert counts[0] == 2
    assert counts[1] == len({(r, s) for r, s, _ in map(freeze, keys(first))}) - 2
    announced = [one for one in said if one.startswith("next: train")]
    assert len(announced) == len({*announced})
    assert re.search(
        r"by 0\.500 sd of a benchmark; (another candidate|a longer run|a further seed) of \d+% .* "
        r"by 0\.\d{3} for [\d,]+ tokens$", announced[0],
    )  # fmt: skip


def freeze(key):
    return tuple(key[0]), *key[1:]


def test_a_budget_that_goes_on_from_the_store_ends_where_nothing_promises_much(
    tmp_path, spent, monkeypatch
):
    start_anew(tmp_path, spent)
    worth(monkeypatch, x1=0.03, x4=0.5)
    small = open_toy(tmp_path, runs=12, longest=4, confirmation=0)
    first = small.spend(trials=small.search())
    worth(monkeypatch, x1=0.001, x4=0.01)
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained"))
    raised = open_toy(tmp_path, runs=40, longest=4, confirmation=0)
    assert sorted(keys(raised.spend(trials=raised.search()))) == sorted(keys(first))


def test_a_batch_of_which_a_part_was_trained_is_finished(tmp_path, spent, monkeypatch):
    """The part would not have been chosen first, and the rest is what was chosen with it."""
    start_anew(tmp_path, spent)
    budget = {"runs": 8, "longest": 1, "confirmation": 0, "batch": 3}
    study = open_toy(tmp_path, **budget)
    bought = study.spend(trials=study.search())
    natural = name_mixture(Mixture(SEARCH["natural"]))
    runs = sorted((tmp_path / "out" / "artifacts" / "runs").glob("mix-*-0-*"))
    others = [run for run in runs if not run.name.startswith(natural)]
    assert len(others) == 3
    for number, run in enumerate(others):
        copy = tmp_path / f"without-{number}"
        shutil.copytree(tmp_path / "out", copy / "out")
        shutil.rmtree(copy / "out" / "artifacts" / "runs" / run.name)
        killed = open_toy(copy, **budget)
        assert keys(killed.spend(trials=killed.search())) == keys(bought)


def test_checkpoints_of_natural_in_the_search_are_paid_for_once(open_spender):
    natural = np.array([0.8, 0.1, 0.1])
    known = [Observation(natural, 0, UNIT // part, np.array([1.0])) for part in (4, 2, 1)]
    spender, _ = open_spender(known=known)
    assert spender.spent == (3 + 1) * UNIT


def test_a_seed_of_natural_that_failed_in_the_search_has_no_pairs(open_spender):
    natural = np.array([0.8, 0.1, 0.1])
    failed = [Observation(natural, 0, UNIT, np.array([np.nan])),
              Observation(np.array(A), 0, UNIT, np.array([np.nan]))]  # fmt: skip
    spender, specs = open_spender(known=failed)
    spender._train_natural()
    assert naturals(specs) == [(1, (UNIT // 4, UNIT // 2, UNIT))]
    options = spender._options(np.array([0, 1]), [], 99 * UNIT)
    assert {(place, each.seed) for place, each in options} == {(1, 1)}


def test_a_budget_buys_no_run_that_would_read_a_domain_too_often(tmp_path, spent):
    toy.copy_trained(spent[0].output.parent, tmp_path)
    counts = open_toy(tmp_path).context.corpora.counts
    tokens = np.array([counts[domain].tokens for domain in toy.WORDS])
    # a run of natural reads 80% of birds: enough for one of UNIT, too little for one of twice that
    training = {"max_epochs": 1.2 * 0.8 * UNIT / int(tokens[0]), "expert_tokens": UNIT // 2}
    study = open_toy(tmp_path, training=training)
    bought = study.spend(trials=study.search())
    assert {each.tokens for each in bought if each.seed >= FRESH} == {UNIT}
    assert max(each.tokens for each in bought) == UNIT
    (warning,) = (one for one in study.callbacks.warnings if "buys no run" in one)
    assert "4,096 tokens, because the natural mixture would read 'birds'" in warning
    assert all((each.ratios * UNIT <= training["max_epochs"] * tokens).all() for each in bought)
    with pytest.raises(DataError, match=r"a run of the natural mixture would read them"):
        open_toy(tmp_path, training={"max_epochs": training["max_epochs"] / 2}).search()


def test_a_candidate_is_trained_as_far_as_its_text_goes(open_spender):
    spender, _ = open_spender(sums=3 * UNIT, max_epochs=1)
    options = spender._options(np.array([0, 1]), [], 99 * UNIT)
    # four units of B are 3.2 units of its largest domain
    assert [(place, each.tokens) for place, each in options] == [
        (0, UNIT),
        (0, 4 * UNIT),
        (1, UNIT),
    ]


def test_a_confirmation_that_does_not_fit_is_said_to_be_left_out(tmp_path, spent):
    toy.copy_trained(spent[0].output.parent, tmp_path)
    study = open_toy(tmp_path, runs=7, confirmation=2)
    said = []
    study.callbacks.message = said.append
    study.spend(trials=study.search())
    (why,) = (one for one in said if "Confirmation: left out, because 2 unused seeds" in one)
    assert why.endswith("would take more than half of what the budget leaves beside the experts.")


def test_a_confirmation_for_which_earlier_runs_left_no_tokens_is_said_to_be_left_out(
    tmp_path, spent, monkeypatch
):
    start_anew(tmp_path, spent)
    worth(monkeypatch, x1=0.03)
    study = open_toy(tmp_path, runs=9, longest=1, confirmation=0)
    study.spend(trials=study.search())
    again = open_toy(tmp_path, runs=9, longest=1, confirmation=1)
    said = []
    again.callbacks.message = said.append
    again.spend(trials=again.search())
    (why,) = (one for one in said if "Confirmation: left out" in one)
    assert why.endswith("than the runs that an earlier command trained leave of the budget.")
