from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import toy

from mixopt.optimization.objective import DRAWS, draw_around
from mixopt.pipeline.decide import decide_study
from mixopt.pipeline.ensemble_scores import ensemble_losses
from mixopt.pipeline.gains import (
    BOOTSTRAPS,
    Observation,
    StudyGains,
    tabulate,
)
from mixopt.pipeline.objective import SEEDS
from mixopt.pipeline.propose import proposals_artifact
from mixopt.pipeline.seed_noise import USUAL_NOISE, measure_noise
from mixopt.surrogates.ensemble import GAMMA, response_weights


@pytest.fixture(scope="module")
def gains(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("gains")
    toy.write_study(folder)
    study = toy.load(toy.copy_trained(trained_toy, folder))
    trials = study.search()
    return StudyGains(study.context, study.open_search(), study.open_policy(), trials)


def observation(gains, ratios, seed=0, tokens=4000, gain=0.0):
    scores = np.full(len(gains.metrics), 2.0) - gain
    return Observation(np.asarray(ratios, float), seed, tokens, scores)


def test_natural_gains_nothing_and_others_something(gains):
    rows = np.vstack([gains.natural, np.eye(3)])
    found = gains.mixtures(rows, 8000)
    assert found.proxy_gains[0] == pytest.approx(np.zeros(len(gains.metrics)))
    own = [metric.name for metric in gains.metrics].index("birds_heldout")
    assert found.proxy_gains[1, own] > 0


def test_runs_are_compared_with_natural_of_their_seed_and_length(gains):
    other = [0.2, 0.3, 0.5]
    runs = gains.observe([
        observation(gains, gains.natural, seed=0),
        observation(gains, gains.natural, seed=1, gain=0.5),
        observation(gains, other, seed=0, gain=1.0),
        observation(gains, other, seed=1, gain=1.0),
        observation(gains, other, seed=2, gain=1.0),
        observation(gains, other, seed=0, tokens=8000, gain=1.0),
    ])  # fmt: skip
    assert runs.seeds.tolist() == [0, 1]  # seed 2 and the longer run have no natural run
    spread = gains.objective.spreads
    assert runs.gains * spread == pytest.approx(np.array([[1.0], [0.5]]) + 0 * spread)
    assert gains.observe([observation(gains, other)]) is None


def test_the_best_ensembles_are_better_than_natural_and_feasible(gains):
    leaders = gains.search_ensembles(seed=0)
    asked = gains.mixtures(leaders, 8000)
    values = asked.proxy_gains @ gains.objective.combinations()[0]
    assert gains.tokens == 20_000
    assert values[0] > 0
    assert gains.search.space.space.contains(leaders, tolerance=1e-6).all()
    assert np.array_equal(leaders, gains.search_ensembles(seed=0))


def test_an_accuracy_without_signal_leads_the_search_by_its_loss(gains):
    mine = np.array([metric.name == "continue" for metric in gains.metrics])
    alone = {metric.capability: 0.0 for metric in gains.metrics}
    changes = {"trust": np.zeros(len(mine)), "loss_trust": mine.astype(float),
               "metrics": tuple(replace(m, capability="told", better="higher") if own else m
                                for m, own in zip(gains.metrics, mine, strict=True))}  # fmt: skip
    doubtful = copy(gains)
    doubtful.objective = replace(gains.objective, weights=alone, **changes)
    doubtful.metrics = doubtful.objective.metrics
    leader = doubtful.search_ensembles(seed=0)[0]
    model = ensemble_losses(gains.search, gains.metrics)
    weights = [gains.search.space.weights_for(row)[0] for row in (leader, gains.natural)]
    best, natural = (model.losses(response_weights(w, GAMMA))[mine][0] for w in weights)
    assert best < natural
    silent = replace(doubtful.objective, loss_trust=None)
    assert not silent.search_trust.any()


def test_more_resampled_items_change_no_candidate(gains):
    leaders, resampled = gains.search_resampled(0, 2 * BOOTSTRAPS)
    assert np.array_equal(leaders, gains.search_ensembles(seed=0))
    assert resampled.shape == (2 * BOOTSTRAPS, 3)
    assert gains.search.space.space.contains(resampled, tolerance=1e-6).all()
    assert leaders[1] == pytest.approx(resampled[:BOOTSTRAPS].mean(axis=0), abs=1e-6)
    assert (resampled.std(axis=0) > 0).all()


def test_gains_are_stated_by_the_runs_for_which_natural_has_text(tmp_path, trained_toy):
    natural = {"birds": 0.8, "ships": 0.1, "sums": 0.1}
    changes = {"search": {"rounds": [6], "natural": natural}, "budget": {"runs": 40, "longest": 4},
               "target": {"tokens": 10**6, "max_repetition": 1000}}  # fmt: skip
    folder = toy.copy_trained(trained_toy, tmp_path)
    study = toy.load(folder, toy.write_study(folder, **changes))
    trials = study.search()

    def tokens(study):
        search, policy = study.open_search(), study.open_policy()
        key = proposals_artifact(study.context, search, policy, trials).key["lengths"]
        return StudyGains(study.context, search, policy, trials).tokens, key[-1]

    assert tokens(study) == (8 * 16_000, 16_000)
    counts = study.context.corpora.counts
    epochs = 2 * 0.8 * 4000 / counts["birds"].tokens  # of the short run, and of twice its length
    training = toy.study_plain()["training"] | {"max_epochs": epochs}
    short = toy.load(folder, toy.write_study(folder, **changes, training=training))
    assert tokens(short) == (8 * 4000, 4000)


def test_merges_tell_what_ensembles_cannot_score(tmp_path, trained_toy):
    toy.write_study(tmp_path)
    study = toy.load(toy.copy_trained(trained_toy, tmp_path))
    trials, policy = study.search(), study.open_policy()
    whole = policy.objective
    policy.objective = replace(
        whole, metrics=whole.metrics[:-1], spreads=whole.spreads[:-1], trust=whole.trust[:-1]
    )
    gains = StudyGains(study.context, study.open_search(), policy, trials)
    assert len(gains.metrics) == len(whole.metrics)
    found = gains.mixtures(np.vstack([gains.natural, np.eye(3)]), 8000)
    assert found.proxy_gains[0] == pytest.approx(np.zeros(len(gains.metrics)))
    assert (found.proxy_errors[1:, -1] > 0).all()
    assert (found.proxy_errors[:, :-1] == 0).all()
    assert gains.search_ensembles(seed=0).shape == (0, 3)
    width = np.diag(gains.condition(None).gains(found)[1][1, :, 1, :])
    alone = np.diag(gains.condition(None).gains(replace(found, proxy_errors=None))[1][1, :, 1, :])
    assert width[-1] > alone[-1]
    assert width[:-1] == pytest.approx(alone[:-1])


@pytest.fixture
def without_ensembles(tmp_path, trained_toy):
    """A study, its trials, its policy as if ensembles scored no metric, and the objective before."""
    toy.write_study(tmp_path)
    study = toy.load(toy.copy_trained(trained_toy, tmp_path))
    trials, policy = study.search(), study.open_policy()
    whole, none = policy.objective, np.zeros(0)
    policy.objective = replace(whole, metrics=(), spreads=none, trust=none, loss_trust=none)
    return study, trials, policy, whole


def test_where_every_benchmark_generates_text_merges_tell_all_gains(without_ensembles):
    study, trials, policy, whole = without_ensembles
    search = study.open_search()
    gains = StudyGains(study.context, search, policy, trials)
    assert gains.objective.metrics == whole.metrics
    # merges at the experts' length have spreads of the size of ensembles'
    assert gains.objective.spreads == pytest.approx(whole.spreads, rel=2)
    found = gains.mixtures(np.vstack([gains.natural, np.eye(3)]), 8000)
    assert (found.proxy_errors[1:] > 0).all()
    decision = decide_study(study.context, search, policy, trials, [])
    assert "merge" not in decision.verdict  # it is about real training
    assert decision.gain.std_error > 0
    assert decision.runs == 0
    assert decision.proxies == "merges of the experts"
    some = {"spreads": whole.spreads[:-1], "trust": whole.trust[:-1]}
    policy.objective = replace(whole, metrics=whole.metrics[:-1], **some)
    mixed = decide_study(study.context, search, policy, trials, [])
    assert mixed.proxies == "ensembles and merges of the experts"


def test_the_unit_of_what_merges_predict_has_what_they_may_miss(without_ensembles):
    """Few noisy items make a surrogate predict small differences: these are not the spread."""
    study, trials, policy, _ = without_ensembles
    gains = StudyGains(study.context, study.open_search(), policy, trials)
    rng = np.random.default_rng([study.config.seed, SEEDS])
    predicted, errors = gains.proxy_scores(draw_around(gains.natural, DRAWS, rng))
    low, high = np.percentile(predicted, [16, 84], axis=0)
    spread = np.hypot((high - low) / 2, np.sqrt(np.square(errors).mean(axis=0)))
    assert gains.objective.spreads == pytest.approx(spread)
    assert (spread > (high - low) / 2).all()


def test_the_noise_of_a_study_is_that_of_its_natural_runs(tmp_path, trained_toy, monkeypatch):
    toy.write_study(tmp_path, budget={"runs": 9})
    study = toy.load(toy.copy_trained(trained_toy, tmp_path))
    search, trials = study.open_search(), study.search()
    policy = study.open_policy()
    known = StudyGains(study.context, search, policy, trials)
    objective = known.objective
    differences = objective.seed_differences
    assert (np.abs(differences) > 0).all()
    usual = np.full(len(differences), np.nan)
    noise = known.condition(None).model.noise_sd
    assert noise == pytest.approx(measure_noise(None, differences / objective.spreads, USUAL_NOISE))
    alone = copy(policy)
    alone.objective = replace(policy.objective, seed_differences=None)
    without = StudyGains(study.context, search, alone, trials).condition(None).model.noise_sd
    assert without == pytest.approx(measure_noise(None, usual, USUAL_NOISE))
    # a metric in which mixtures do not differ has no spread
    flat = replace(objective, trust=np.array([0.0, *objective.trust[1:]]))
    assert np.isnan(flat.seed_gains[0])
    assert np.isfinite(flat.seed_gains[1:]).all()


def test_a_table_of_runs(gains):
    rows = [observation(gains, gains.natural), observation(gains, [1, 0, 0], seed=1)]
    table = tabulate(rows, ("birds", "ships", "sums"), gains.metrics)
    assert table["ratio/birds"].tolist() == [pytest.approx(gains.natural[0]), 1.0]
    assert table["seed"].tolist() == [0, 1]
    assert set(table.columns) >= {metric.name for metric in gains.metrics}


def test_noise_of_a_run_does_not_depend_on_the_target(tmp_path, trained_toy):
    toy.copy_trained(trained_toy, tmp_path)
    noise = []
    for tokens in (4000, 20_000):
        study = toy.load(tmp_path, toy.write_study(tmp_path, target={"tokens": tokens}))
        gains = StudyGains(study.context, study.open_search(), study.open_policy(), study.search())
        noise.append(gains.condition(None).model.noise_sd)
    assert noise[0] == pytest.approx(noise[1])


def test_spreads_are_compared_inside_a_native_unit(tmp_path, trained_toy, monkeypatch):
    study = toy.load(toy.copy_trained(trained_toy, tmp_path), toy.write_study(tmp_path))
    trials = study.search()

    def model():
        gains = StudyGains(study.context, study.open_search(), study.open_policy(), trials)
        return gains.condition(None).model

    losses = model()
    assert losses.usual_spreads == pytest.approx(np.full(4, np.median(losses.spreads)))
    monkeypatch.setattr("mixopt.pipeline.gains.native_unit", lambda config: config.name)
    assert model().usual_spreads == pytest.approx(losses.spreads)


def test_the_response_of_a_search_of_ensembles_is_that_of_the_gains(trained_toy, tmp_path):
    """Between corners a larger γ gives a domain with a small share less weight in the ensemble."""
    found = {}
    for gamma in (None, 0.6, 1.0):
        search = {"rounds": [6], "method": "ensemble"} | ({"response": gamma} if gamma else {})
        path = toy.write_study(toy.copy_trained(trained_toy, tmp_path), search=search)
        study = toy.load(tmp_path, path)
        trials = study.search()
        gains = StudyGains(study.context, study.open_search(), study.open_policy(), trials)
        rows = np.array([[0.9, 0.05, 0.05], [1.0, 0.0, 0.0]])
        found[gamma] = gains.proxy_scores(rows)[0]
    assert np.array_equal(found[None], found[0.6])
    assert np.array_equal(found[1.0][1], found[0.6][1])
    ships = [metric.name for metric in gains.metrics].index("ships_heldout")
    assert found[1.0][0, ships] > found[0.6][0, ships]
