import numpy as np
import pytest
import toy

from mixopt.config.loader import load_study
from mixopt.errors import ConfigError, MissingExtraError, UserError
from mixopt.pipeline import text_prior
from mixopt.pipeline.text_prior import list_mixtures, measure_text_prior

pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path, trained_toy, monkeypatch):
    monkeypatch.setattr(text_prior, "DRAWN", 8)
    write_toy(tmp_path)
    return toy.load(toy.copy_trained(trained_toy, tmp_path))


def write_toy(folder, **changes):
    """The toy study with a prior mean, and enough items of each benchmark for it."""
    path = toy.write_study(folder, search={"rounds": [6], "text_prior": True}, **changes)
    rows = [{"prompt": "the small", "target": f" bird sings {word}"} for word in toy.WORDS["birds"]]
    toy.write_jsonl(folder / "data" / "continue.jsonl", rows)
    return path


def test_mixtures_are_all_over_the_simplex():
    rows = list_mixtures(np.array([0.5, 0.3, 0.2]), 0)
    assert len(rows) == 3 + 2 + text_prior.DRAWN
    assert rows.sum(axis=1) == pytest.approx(1)
    assert (rows[:3] == np.eye(3)).all()
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_a_domains_own_benchmark_is_nearest_to_it_and_distances_are_measured_once(
    study, monkeypatch
):
    study.prepare()
    found = measure_text_prior(study.context)
    corners = found.values([m for m in found.metrics if m.name.endswith("_heldout")])[:3]
    own = [list(study.config.domains).index(m.own_domain or m.name.split("_")[0])
           for m in found.metrics if m.name.endswith("_heldout")]  # fmt: skip
    assert corners.argmin(axis=0).tolist() == own
    # nearer is better also where a higher score is
    higher = [metric for metric in found.metrics if metric.better == "higher"]
    assert (found.values(higher) < 0).all()
    monkeypatch.setattr(
        text_prior.Transport, "by_benchmark", lambda *_: pytest.fail("measured again")
    )
    assert measure_text_prior(study.context).digest == found.digest


def test_the_surrogate_of_a_study_uses_it_and_others_keep_their_keys(study, tmp_path, trained_toy):
    trials = study.search()
    policy = study.open_policy()
    key = policy.key(trials)
    assert key["prior_mean"] == measure_text_prior(study.context).digest
    assert "corrected" in policy.fit(trials).metrics[0].weights
    (proposal,) = study.propose(trials)
    assert proposal.decision is not None
    assert [row.state for row in study.status() if row.what.startswith("proposal")] == ["done"]
    plain = toy.write_study(tmp_path / "plain", search={"rounds": [6]})
    config = load_study(plain)
    assert "text_prior" not in config.search.model_dump()
    other = toy.load(toy.copy_trained(trained_toy, tmp_path / "plain"))
    assert "prior_mean" not in other.open_policy().key(other.search())


def test_a_benchmark_of_a_capability_with_weight_0_takes_no_part(
    tmp_path, trained_toy, monkeypatch
):
    monkeypatch.setattr(text_prior, "DRAWN", 8)
    path = write_toy(tmp_path)
    plain = path.read_text()
    assert "text_prior: true" in plain
    path.write_text(
        plain.replace("text_prior: true", "text_prior: true\n  capability_weights: {sums: 0}")
    )
    study = toy.load(toy.copy_trained(trained_toy, tmp_path))
    study.prepare()
    found = measure_text_prior(study.context)
    assert {m.name for m in found.metrics} == {"birds_heldout", "continue", "ships_heldout"}


def test_what_is_missing_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    study = toy.load(tmp_path, write_toy(tmp_path))
    monkeypatch.setattr("mixopt.errors.is_installed", lambda name: name != "ot")
    with pytest.raises(MissingExtraError, match=r"pip install 'mixopt\[transport\]'"):
        study.search()
    monkeypatch.undo()
    monkeypatch.setattr("mixopt.pipeline.text_samples.LEAST_SAMPLES", 10_000)
    with pytest.raises(UserError, match="'birds' has .* passages of .* and transport needs 10000"):
        toy.load(tmp_path).search()
    assert not list((tmp_path / "out" / "artifacts").glob("bases/*"))


def test_a_benchmark_with_few_passages_is_told_with_its_number(tmp_path):
    search = {"rounds": [6], "text_prior": True}
    study = toy.load(tmp_path, toy.write_study(tmp_path, search=search))
    with pytest.raises(UserError, match="'continue' has 2 passages and transport needs 8; give it"):
        study.search()
    assert not list((tmp_path / "out" / "artifacts").glob("bases/*"))


def test_a_study_without_text_to_compare_is_refused(tmp_path):
    base = {"kind": "pretrained", "path": str(tmp_path), "context": 32}
    path = write_toy(tmp_path, base=base)
    expert = tmp_path / "experts" / "birds.yaml"
    expert.write_text(f"domain: birds\ncheckpoint: {tmp_path}\n")
    with pytest.raises(ConfigError, match="text_prior: expert 'birds' has no text to compare"):
        load_study(path)
    toy.write_study(tmp_path, search={"rounds": [6], "text_prior": True})
    for name in ("birds", "ships", "sums", "continue"):
        (tmp_path / "benchmarks" / f"{name}.yaml").unlink()
    choice = tmp_path / "benchmarks" / "choice.yaml"
    generation = choice.read_text().replace("role: holdout", "role: search")
    choice.write_text(generation.replace("kind: multiple_choice", "kind: generation"))
    with pytest.raises(ConfigError, match="no benchmark that chooses has text"):
        load_study(path)
