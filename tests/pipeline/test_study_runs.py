import shutil

import pytest
import toy

from mixopt import Mixture
from mixopt.pipeline.mixture_runs import name_mixture
from mixopt.proposal import Proposal
from mixopt.training import trainer

pytestmark = pytest.mark.slow

NATURAL = {"birds": 0.8, "ships": 0.1, "sums": 0.1}
TRAINING = {"tokens": 2048, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 99}


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A study that was validated and whose budget was spent, its runs, and its last proposal."""
    folder = tmp_path_factory.mktemp("runs")
    path = toy.write_study(
        folder, search={"rounds": [6], "natural": NATURAL}, training=TRAINING,
        validation={"mixtures": 4, "seeds": 1},
        budget={"runs": 8, "longest": 1, "confirmation": 0},
    )  # fmt: skip
    study = toy.load(folder, path)
    proposals, validation = study.answer(study.search())
    assert validation is not None
    return folder, list(study.open_policy().observations), proposals[0].to_json()


def copied(answered, folder):
    toy.copy_trained(answered[0], folder)
    shutil.copytree(answered[0], folder, dirs_exist_ok=True)
    return toy.load(folder)


@pytest.fixture
def again(answered, tmp_path, monkeypatch):
    """The study in another process; training anew is an error."""
    study = copied(answered, tmp_path)
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained again"))
    return study


def same(bought, observations):
    return [(o.seed, o.tokens, o.ratios.tolist()) for o in bought] == [
        (o.seed, o.tokens, o.ratios.tolist()) for o in observations
    ]


def test_a_later_proposal_uses_what_validation_and_budget_trained(answered, again):
    _, bought, last = answered
    (proposal,) = again.propose(again.search())
    assert proposal.to_json() == last
    assert Proposal.read(again.output / "proposal.json").to_json() == last
    assert same(again.open_policy().observations, bought)
    assert len(again.open_policy().by_seed) == 1
    assert {row.what: row.state for row in again.status()}["proposal"] == "done"


def test_verbs_in_any_order_use_the_same_runs(answered, again):
    _, bought, last = answered
    trials = again.search()
    # the validation decides which runs a budget buys
    assert same(again.spend(trials=trials), bought)
    assert same(again.spend(trials=trials), bought)
    again.validate(trials=trials)
    assert again.propose(trials)[0].to_json() == last
    proposals, _ = again.answer(trials)
    assert proposals[0].to_json() == last


def test_a_validation_leaves_the_runs_of_the_budget_in_the_proposal(answered, again):
    trials = again.search()
    again.validate(trials=trials)
    # the proposal before the validation replaces no later one
    assert Proposal.read(again.output / "proposal.json").to_json() == answered[2]
    assert again.propose(trials)[0].to_json() == answered[2]


def test_without_its_runs_a_proposal_is_the_one_before_the_budget_and_nothing_is_trained(
    answered, tmp_path, monkeypatch
):
    study = copied(answered, tmp_path)
    natural = name_mixture(Mixture(NATURAL))
    for run in (study.output / "artifacts" / "runs").glob("mix-*"):
        if not run.name.startswith(natural):
            shutil.rmtree(run)
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained"))
    said = []
    monkeypatch.setattr(study.callbacks, "message", said.append)
    (proposal,) = study.propose(study.search())
    assert proposal.decision.runs == 3  # those of the validation but natural
    assert study.open_policy().observations == ()
    (why,) = (one for one in said if "uses no run" in one)
    assert "of the budget: not all of them are trained (`mixopt spend` trains them)" in why
    assert not any(one.startswith("next: train") for one in said)
    for run in (study.output / "artifacts" / "proxy-runs").glob("spread-*"):
        shutil.rmtree(run)
    other = toy.load(tmp_path)
    assert other.propose(other.search())[0].decision.runs == 0
    assert other.open_policy().by_seed == ()
