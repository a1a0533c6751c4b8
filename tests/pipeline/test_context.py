import pytest
import toy

import mixopt
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ConfigError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foundation")
    path = toy.write_study(folder, search={"rounds": [7]})
    load(path, folder).train()
    return path, folder


def load(path, folder):
    return mixopt.Study.load(path, folder / "out", cache=folder / "cache", device="cpu")


def test_what_is_there_is_found_without_a_worker(trained, monkeypatch):
    ground = load(*trained).foundation
    monkeypatch.setattr(ground.hands, "do", lambda jobs: iter([pytest.fail("asked") for _ in jobs]))
    assert list(ground.experts) == list(toy.WORDS)
    assert list(ground.compositions) == list(toy.WORDS)
    assert ground.failures == {}


def test_fits_are_kept_where_the_study_keeps_its_units(trained):
    study = load(*trained)
    trials = study.search()
    ground = study.foundation
    surrogate = ground.learner.fit(trials)
    (folder,) = ArtifactStore(study.output / "journal").find_all("fits", "fit")
    assert (folder / "surrogate.skops").is_file()
    again = load(*trained).foundation.learner.fit(trials)
    points = ground.weight_space.ratios(ground.weight_space.centre[None])
    assert (again.predict(points)[0] == surrogate.predict(points)[0]).all()


def test_a_study_of_phases_has_no_laboratory_of_its_own(trained, tmp_path):
    phases = [{"name": "a", "tokens": 15_000}, {"name": "b", "tokens": 5_000}]
    study = load(toy.write_study(tmp_path, phases=phases), tmp_path)
    with pytest.raises(ConfigError, match="has phases"):
        _ = study.foundation.laboratory
