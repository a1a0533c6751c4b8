from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt import Mixture
from mixopt.errors import ConfigError
from mixopt.pipeline import validate
from mixopt.pipeline.validate import list_runs
from mixopt.proposal import Proposal
from mixopt.tables.read_trials import read_trials


def test_proxy_runs_are_read_back_and_slopes_are_counted(toy_folder):
    search = toy.study_plain()["search"] | {"rounds": [6], "slopes": True}
    validation = {"mixtures": 4, "seeds": 2}
    study = toy.load(toy_folder, toy.write_study(toy_folder, search=search, validation=validation))
    trials = study.search()
    found = study.validate(trials=trials)
    better = {metric.name: metric.better for metric in trials.metrics}
    runs = read_trials(runs=study.output / "proxy-runs.csv", better=better)
    assert len(runs) == 8
    search = study.open_search()
    plain = len(trials.where(kind="merged")) * search.evaluator.flops_per_score
    experts = sum(result.outcome.flops for result in search.experts.results.values())
    assert found.cost.search_flops > experts + 1.5 * plain


def test_a_study_without_validation(toy_folder):
    path = toy.write_study(toy_folder, search=toy.study_plain()["search"] | {"rounds": [6]})
    with pytest.raises(ConfigError, match="no `validation` section"):
        toy.load(toy_folder, path).validate()


@pytest.mark.parametrize(("proxy", "cost"), [("ensembled", 0), ("merged", 50)])
def test_a_candidate_of_ensembles_costs_no_forward_pass(proxy, cost, monkeypatch):
    """A run of 1,000 tokens takes 600 FLOPs, and the forward passes of a merge 30."""
    asked = {}
    monkeypatch.setattr(validate, "weigh_purchases", lambda _, **options: asked.update(options))
    runs = SimpleNamespace(tokens=1000)
    validate._weigh_purchases(
        SimpleNamespace(config=SimpleNamespace(proxy=proxy)),
        SimpleNamespace(evaluator=SimpleNamespace(flops_per_score=30.0),
                        experts=SimpleNamespace(results={})),
        SimpleNamespace(overall=lambda _: "rank", utilities=(), seeds=1),
        SimpleNamespace(where=lambda kind: [kind]), [runs],
        SimpleNamespace(fit=lambda _: None), 600.0,
    )  # fmt: skip
    assert asked["merge_tokens"] == cost


@pytest.mark.parametrize("uniform_is", ["natural", "proposal"])
def test_no_mixture_is_trained_under_two_names(toy_folder, uniform_is):
    uniform, other = Mixture.uniform(toy.WORDS), {"birds": 0.5, "ships": 0.3, "sums": 0.2}
    mixtures = {"natural": Mixture(other), "proposal": Mixture(other)} | {uniform_is: uniform}
    search = {"rounds": [6], "natural": dict(mixtures["natural"])}
    path = toy.write_study(toy_folder, search=search, validation={"mixtures": 5, "seeds": 1})
    study = toy.load(toy_folder, path)
    proposal = Proposal(mixtures["proposal"], None, {})
    runs = list_runs(study.prepare(), study.open_search(), proposal)
    assert [run.mixture for run in runs] == [
        "natural", "proposal", "spread-00", "spread-01", "spread-02"
    ]  # fmt: skip
    rows = np.stack([run.run.ratios.vector(list(toy.WORDS)) for run in runs])
    apart = np.abs(rows[:, None] - rows[None]).max(axis=2) + np.eye(len(rows))
    assert apart.min() > 1e-6


def test_mixtures_whose_text_is_not_enough_are_left_out(toy_folder, monkeypatch):
    """One of them would end the study after experts and search were paid for."""
    search = {"rounds": [6], "natural": {"birds": 0.6, "ships": 0.3, "sums": 0.1}}
    validation = {"mixtures": 6, "seeds": 1}
    study = toy.load(toy_folder, toy.write_study(toy_folder, search=search, validation=validation))
    context, opened = study.prepare(), study.open_search()
    proposal = Proposal(Mixture({"birds": 0.1, "ships": 0.1, "sums": 0.8}), None, {})
    free = {run.mixture: run.run.ratios for run in list_runs(context, opened, proposal)}
    assert max(ratios["sums"] for name, ratios in free.items() if "spread" in name) > 0.3
    counts = context.corpora.counts
    most = 0.3 * study.config.training.tokens / counts["sums"].tokens
    changes = {domain: replace(c, tokens=10**9) for domain, c in counts.items() if domain != "sums"}
    monkeypatch.setattr(context.corpora, "counts", counts | changes)
    training = study.config.training.model_copy(update={"max_epochs": most})
    monkeypatch.setattr(context, "config", study.config.model_copy(update={"training": training}))
    runs = list_runs(context, opened, proposal)
    # uniform and the proposal make room for others
    assert [run.mixture for run in runs] == ["natural", *(f"spread-0{n}" for n in range(5))]
    assert all(run.run.ratios["sums"] <= 0.3 for run in runs)
    said = []
    monkeypatch.setattr(context.callbacks, "message", said.append)
    monkeypatch.setattr(validate, "_list_runs", lambda *_: pytest.fail("listed"))
    with pytest.raises(pytest.fail.Exception):
        validate.validate(context, opened, proposal, None, None)
    assert [one.split("'")[1] for one in said] == ["uniform", "proposal"]
    assert "4,000 tokens of it would read a domain more than" in said[0]
