from dataclasses import replace

import numpy as np
import pytest
import toy

import mixopt
from mixopt import Estimate, Mixture
from mixopt.baselines.base import Recommendation
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline import propose
from mixopt.pipeline.propose import build_proposals, proposals_artifact, verify
from mixopt.pipeline.proxy_trust import SurrogatePolicy


@pytest.fixture(scope="module")
def searched(trained_toy, tmp_path_factory):
    folder = toy.copy_trained(trained_toy, tmp_path_factory.mktemp("propose"))
    study = toy.load(folder, toy.write_study(folder, search={"rounds": [8]}))
    trials = study.search()
    return study, trials, study.propose(trials)[0]


def parts(study):
    return study.context, study.open_search(), study.open_policy()


def test_proposals_are_built_once_and_read_again(searched, monkeypatch):
    study, trials, first = searched
    monkeypatch.setattr(propose, "search_mixtures", lambda *_, **__: pytest.fail("built again"))
    assert [p.to_json() for p in build_proposals(*parts(study), trials)] == [first.to_json()]


def test_what_determines_proposals_is_in_their_key(searched):
    study, trials, _ = searched
    plain = study.config.model_dump(mode="json")

    def name(trials=trials, **sections):
        changed = {name: (plain[name] or {}) | values for name, values in sections.items()}
        config = type(study.config).model_validate(plain | changed)
        cache = study.environment.cache
        other = mixopt.Study(config, study.output, cache=cache, device="cpu")
        return proposals_artifact(*parts(other), trials).folder_name

    names = [
        name(),
        name(trials=trials[:-2]),
        name(search={"upper": {"birds": 0.4}}),
        name(search={"proposals": 3}),
        name(target={"max_repetition": 3}),
        name(budget={"runs": 30, "longest": 2}),
        name(budget={"runs": 30, "longest": 3}),
    ]
    first, *others = plain["experts"]
    plain["experts"] = [first | {"max_repetition": 2.0}, *others]
    names.append(name())
    plain["experts"] = [first | {"max_repetition": 3.0}, *others]
    names.append(name())
    plain["experts"] = [first, *others]
    assert len(set(names)) == len(names)
    assert name() == names[0]


def test_a_mixture_compared_with_itself_gains_exactly_nothing(searched):
    study, trials, proposal = searched
    same = replace(proposal.comparisons[0], name="itself", ratios=proposal.ratios)
    own = replace(proposal, comparisons=(same,), notes=())
    (comparison,) = verify(*parts(study), own, trials).comparisons
    assert comparison.measured_gain.mean == pytest.approx(0, abs=1e-9)
    assert set(comparison.aggregates) == {"mean", "weighted", "worst"}


def test_what_is_worse_is_so_by_the_measured_differences(searched):
    study, trials, proposal = searched
    predicted = replace(proposal.comparisons[0], worse={"of the surrogate": 0.9})
    told = replace(proposal, comparisons=(predicted,))
    (comparison,) = verify(*parts(study), told, trials).comparisons
    directions = {m.name: 1 if m.better == "lower" else -1 for m in trials.metrics}
    expected = {
        name: Estimate(directions[name] * gap.mean, gap.std_error).chance
        for name, gap in comparison.differences.items()
    }
    assert expected
    assert comparison.worse == {n: chance for n, chance in expected.items() if chance > 0.5}
    assert list(comparison.worse.values()) == sorted(comparison.worse.values(), reverse=True)
    # the same mixture is worse nowhere, whatever its merge is rounded to
    same = replace(predicted, ratios=proposal.ratios, predicted_gain=Estimate(0.0, 0.0))
    (itself,) = verify(*parts(study), replace(told, comparisons=(same,)), trials).comparisons
    assert itself.worse == {}


def test_gains_change_sign_when_the_sides_are_swapped(searched):
    study, trials, proposal = searched
    other = proposal.comparisons[0]
    there = verify(*parts(study), proposal, trials).comparisons[0]
    target = other.ratios.vector(study.config.domains)
    weights, _ = study.open_search().space.weights_for(target)
    swapped = replace(
        proposal,
        ratios=other.ratios,
        weights=dict(zip(proposal.weights, map(float, weights), strict=True)),
        comparisons=(replace(other, ratios=proposal.ratios),),
    )
    back = verify(*parts(study), swapped, trials).comparisons[0]
    for metric, difference in there.differences.items():
        assert back.differences[metric].mean == pytest.approx(-difference.mean, abs=1e-6)
        assert back.differences[metric].std_error == pytest.approx(difference.std_error, abs=1e-6)
    for name, gain in there.capabilities.items():
        assert back.capabilities[name].mean == pytest.approx(-gain.mean, abs=1e-6)
    assert set(there.capabilities) == {"birds", "ships", "sums"}
    gains = [side.aggregates["mean"].mean for side in (there, back)]
    assert gains[0] == pytest.approx(-gains[1], abs=1e-6)


def test_failed_experts_and_real_runs_are_noted(searched):
    study, trials, proposal = searched
    context, search, policy = parts(study)
    failures = {"ships": "its loss was not finite"}
    failed = replace(search, experts=replace(search.experts, failures=failures))
    verified = verify(context, failed, policy, proposal, trials)
    assert verified.notes[-1] == "Expert 'ships' was set aside: its loss was not finite"
    runs = trials.where(kind="merged")[:4]
    with_runs = SurrogatePolicy(study.config, policy.reliabilities, runs=runs)
    notes = verify(context, search, with_runs, proposal, trials).notes
    assert any("corrected by 4 mixtures" in note for note in notes)
    available = context.corpora.available_tokens
    tokens = study.config.target.tokens
    repetition = sum(tokens * share / available[name] for name, share in proposal.ratios.items())
    assert np.isclose(sum(verified.repetition.values()), repetition)


def test_unused_seeds_that_contradict_what_was_expected_are_noted(searched):
    study, trials, proposal = searched
    decision = replace(
        proposal.decision, confirmation=Estimate(-1.0, 0.1), expected_before=Estimate(1.0, 0.2),
        confirmed_tokens=2048,
    )  # fmt: skip
    noted = verify(*parts(study), replace(proposal, decision=decision), trials).notes
    assert [note for note in noted if note not in proposal.notes] == [decision.contradiction]
    assert decision.contradiction.startswith(
        "The unused seeds contradict what was expected of them"
    )
    near = replace(decision, confirmation=Estimate(0.8, 0.1))
    assert verify(*parts(study), replace(proposal, decision=near), trials).notes == proposal.notes


def test_a_recommendation_that_the_experts_cannot_make_stays_and_is_noted(searched, monkeypatch):
    study, trials, _ = searched
    context, search, policy = parts(study)
    domains = study.config.domains
    rows = 0.5 * np.eye(3) + 0.5 / 3  # half of each expert's text is of all domains
    anchored = {n: Mixture.from_vector(domains, row) for n, row in zip(domains, rows, strict=True)}
    search = replace(
        search,
        space=WeightSpace.of_rows(context.space, anchored),
        experts=replace(search.experts, compositions=anchored),
    )
    recommended = Mixture.from_vector(domains, np.array([0.9, 0.05, 0.05]))
    told = policy.with_recommendation(Recommendation(recommended, 4000), ())
    monkeypatch.setattr(propose, "decide_study", lambda *_: None)
    first = build_proposals(context, search, told, trials)[0]
    assert first.ratios == recommended
    note = "The experts cannot make the recommended mixture; the nearest one stands for it, 0.2"
    assert [n[: len(note)] for n in first.notes if "recommended mixture" in n] == [note]
