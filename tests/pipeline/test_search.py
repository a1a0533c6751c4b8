import numpy as np
import pytest
import toy

from mixopt.errors import ConfigError, ModelError, RunError


def study(folder, seed=0, **search):
    path = toy.write_study(folder, search=toy.study_plain()["search"] | search, seed=seed)
    return toy.load(folder, path)


def test_gradient_rounds_climb_the_merges_own_losses(toy_folder):
    # with seed 0 the ascent converges after three evaluations
    climbing = study(toy_folder, seed=1, rounds=[8, 12], method="gradient")
    trials = climbing.search()
    merged = trials.where(kind="merged")
    first = [trial for trial in merged if trial.round == 1]
    second = [trial for trial in merged if trial.round == 2]
    assert 4 <= len(second) <= 12
    assert not any(trial.slopes for trial in first)
    assert all(len(trial.slopes) == 3 for trial in second)
    assert all(t.flops > f.flops for t, f in zip(second, first, strict=False))
    # the losses that are searched by fall below the best of the first round
    names = [m.name for m in trials.search_metrics if m.better == "lower"]

    def least(some):
        table = np.array([[trial.scores[name].value for name in names] for trial in some])
        spread = np.array([[t.scores[n].value for n in names] for t in first]).std(0)
        return (table / spread).mean(1).min()

    assert least(second) <= least(first) + 1e-6
    proposal = climbing.propose(trials)[0]
    assert (
        climbing.prepare()
        .space.contains(proposal.ratios.vector(trials.domains), tolerance=1e-6)
        .all()
    )
    assert climbing.search().to_frame().equals(trials.to_frame())  # found again


def test_slopes_are_those_along_the_way_to_each_expert(toy_folder):
    searched = study(toy_folder, rounds=[6], slopes=True)
    trials = searched.search()
    trial = trials.where(kind="merged")[0]
    weights = np.array(list(trial.weights.values()))
    step = 0.02
    for slope in trial.slopes:
        corner = slope.towards.vector(trials.domains)
        there = (1 - step) * weights + step * corner
        scores = searched.open_search().evaluator.score(there.tolist())["merged"]
        for name, change in slope.changes.items():
            moved = scores[name].score - trial.scores[name].value
            assert moved == pytest.approx(step * change, abs=0.02 * step * 10 + 1e-4)
        assert "choice" not in slope.changes  # accuracy jumps


def test_ensembles_enter_as_a_cheaper_fidelity(toy_folder):
    searched = study(toy_folder, rounds=[8], ensembles=40)
    trials = searched.search()
    assert len(trials.where(kind="ensembled")) == 48
    assert len(trials.where(kind="merged")) == 8
    surrogate = searched.fit(trials)
    assert [level.level for level in surrogate.fidelities] == ["ensembled", "merged"]
    assert surrogate.fidelities[0].trials == 48


@pytest.mark.parametrize("method", ["ensemble", "regmix"])
@pytest.mark.parametrize("search", [{"item_share": 0.5}, {"slopes": True}, {"ensembles": 9}])
def test_what_stands_on_merges_goes_with_merges(tmp_path, method, search):
    with pytest.raises(ConfigError, match="goes with method: mergemix"):
        study(tmp_path, method=method, **search)


def test_layer_by_layer_the_search_is_the_same(trained_toy, tmp_path):
    here, there = (
        study(toy.copy_trained(trained_toy, tmp_path / scoring), rounds=[6], scoring=scoring)
        for scoring in ("resident", "streamed")
    )
    one, other = here.search(), there.search()
    assert one.ratios() == pytest.approx(other.ratios())
    assert one.values(one.metrics) == pytest.approx(other.values(other.metrics), abs=1e-4)


def test_slopes_of_a_model_that_is_streamed_are_refused(toy_folder):
    searched = study(toy_folder, rounds=[6], scoring="streamed", slopes=True)
    with pytest.raises(ModelError, match="Slopes need base and experts in memory"):
        searched.search()


@pytest.mark.parametrize("scored", [0, 5])
def test_a_first_round_of_which_too_few_could_be_scored(toy_folder, monkeypatch, scored):
    search = toy.load(toy_folder).open_search()
    chosen = search.choose(1, 8, search.no_trials, lambda: None, {})
    whole = list(search.evaluator.evaluate(chosen.rows[:scored].tolist()))
    lost = [{}] * (8 - scored)
    monkeypatch.setattr(search.evaluator, "evaluate", lambda *_: iter([*whole, *lost]))
    with pytest.raises(
        RunError, match=f"{scored} of 8 candidates of the first round could be scored"
    ):
        search.score(chosen)
