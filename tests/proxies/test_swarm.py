import numpy as np
import pytest
import toy
from proxies.test_laboratory import laboratory


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
