import numpy as np
import pytest
import toy
from merging_for_tests import Fixed, choices
from pipeline.test_laboratory import laboratory

from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.scorer import Scorer


def anew(swarm, store, scorer=None):
    """The same base and experts with nothing scored yet."""
    key = {name: value for name, value in swarm._key.items() if name != "benchmarks"}
    scorer = scorer or swarm.scorer
    return MergeEvaluator(lambda: swarm.engine, swarm.k, scorer, store, key, swarm.response)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    lab = laboratory(tmp_path_factory.mktemp("swarm"))
    folders = [lab.train_expert(name).folder for name in lab.compositions]
    return lab, lab.open_swarm(folders)


def test_each_expert_is_best_at_home(trained):
    _, swarm = trained
    scores = [swarm.score(np.eye(3)[i].tolist())["merged"] for i in range(3)]
    for index, domain in enumerate(toy.WORDS):
        losses = [s[f"{domain}_heldout"].score for s in scores]
        assert int(np.argmin(losses)) == index


def test_at_a_corner_merge_and_ensemble_are_the_expert(trained):
    _, swarm = trained
    results = swarm.score([0.0, 1.0, 0.0])
    for metric, merged in results["merged"].items():
        assert merged.values == pytest.approx(results["ensembled"][metric].values, abs=1e-5)


def test_merge_and_ensemble_differ_inside(trained):
    _, swarm = trained
    results = swarm.score([0.4, 0.3, 0.3])
    merged, ensembled = (results[kind]["birds_heldout"].score for kind in ("merged", "ensembled"))
    assert merged != pytest.approx(ensembled, abs=1e-4)


def test_ensemble_is_never_worse_than_its_worst_expert(trained):
    _, swarm = trained
    ensembled = swarm.score([1 / 3] * 3)["ensembled"]["birds_heldout"].score
    worst = max(
        swarm.score(np.eye(3)[i].tolist())["merged"]["birds_heldout"].score for i in range(3)
    )
    assert ensembled < worst


def test_scores_are_found_again(trained, monkeypatch):
    _, swarm = trained
    first = swarm.score([0.2, 0.3, 0.5])
    monkeypatch.setattr(swarm.scorer, "logprobs", lambda *_: pytest.fail("scored again"))
    second = swarm.score([0.2, 0.3, 0.5])
    for kind, by_metric in first.items():
        for metric, result in by_metric.items():
            assert (result.values == second[kind][metric].values).all()


def test_rows_that_are_finished_meanwhile_leave_the_others_their_own_scores(trained, tmp_path):
    lab, swarm = trained
    rows = np.random.default_rng(7).dirichlet(np.ones(3), 4).tolist()
    scored = swarm.score_all(rows)
    found = [next(scored)]
    swarm.score(rows[1])  # as another process would
    found += list(scored)
    fresh = anew(swarm, ArtifactStore(tmp_path))
    for row, results in zip(rows, found, strict=True):
        for metric, result in fresh.score(row)["merged"].items():
            assert (result.values == results["merged"][metric].values).all()


def test_costs_do_not_depend_on_what_is_found(trained, monkeypatch, tmp_path):
    """Whether prompts are shared is tried before costs are counted, not when something is scored."""
    _, swarm = trained
    network = swarm.engine.merger.model

    def flops(folder):
        return anew(
            swarm, ArtifactStore(tmp_path / folder), Scorer([Fixed(choices())])
        ).flops_per_score

    shared = flops("shared")
    monkeypatch.setattr(network.config, "_attn_implementation", "flash_attention_2")
    assert flops("plain") > 1.5 * shared


def test_benchmarks_in_another_order_are_not_mistaken_for_each_other(trained, tmp_path):
    """Log-probabilities lie in one array, in the order of the benchmarks."""
    _, swarm = trained
    journal = ArtifactStore(tmp_path)
    row = [0.2, 0.3, 0.5]
    first = anew(swarm, journal).score(row)
    turned = Scorer(list(reversed(swarm.scorer.tasks)))
    second = anew(swarm, journal, turned)
    for kind, by_metric in anew(swarm, ArtifactStore(tmp_path / "new"), turned).score(row).items():
        for metric, result in by_metric.items():
            assert second.score(row)[kind][metric].values == pytest.approx(result.values)
            assert first[kind][metric].values == pytest.approx(result.values)
    found = second.ensemble.mix([0.0, 1.0, 0.0])
    wanted = anew(swarm, ArtifactStore(tmp_path / "other"), turned).ensemble.mix([0.0, 1.0, 0.0])
    assert found == pytest.approx(wanted)
