import pytest
import toy
import yaml

from mixopt.errors import MissingExtraError
from mixopt.mixture import Mixture
from mixopt.pipeline.preview import Preview

pytestmark = pytest.mark.slow


def test_the_nearest_text_gets_more_and_nothing_is_trained(tmp_path):
    search = {"rounds": [6], "capability_weights": {"ships": 8}, "upper": {"ships": 0.7}}
    study = toy.load(tmp_path, toy.write_study(tmp_path, search=search))
    found = study.preview()
    assert found.natural == study.context.corpora.natural
    assert found.ratios["ships"] == pytest.approx(0.7, abs=0.02)
    assert found.distance < found.natural_distance
    assert min(found.distances, key=found.distances.get) == "ships"
    assert not list((tmp_path / "out" / "artifacts").glob("bases/*"))
    assert not list((tmp_path / "out" / "artifacts").glob("experts/*"))
    assert toy.load(tmp_path).preview() == found


def test_a_domain_that_natural_leaves_out_has_no_share_of_it(tmp_path):
    search = {"rounds": [6], "natural": {"birds": 0.5, "ships": 0.5}}
    study = toy.load(tmp_path, toy.write_study(tmp_path, search=search))
    rows = {line.split()[0]: line.split()[1] for line in str(study.preview()).splitlines()[2:-1]}
    assert rows == {"birds": "50.0%", "ships": "50.0%", "sums": "0.0%"}


def test_the_extra_is_asked_for_before_the_text_is_read(tmp_path, monkeypatch):
    study = toy.load(tmp_path, toy.write_study(tmp_path))
    monkeypatch.setattr("mixopt.errors.is_installed", lambda name: name != "ot")
    with pytest.raises(MissingExtraError, match=r"pip install 'mixopt\[transport\]'"):
        study.preview()
    assert not (tmp_path / "cache").exists()


def test_a_preview_says_that_nothing_was_trained():
    ratios = Mixture({"web": 0.25, "code": 0.75})
    shown = str(
        Preview(ratios, Mixture({"web": 0.5, "code": 0.5}), {"web": 1, "code": 0.5}, 0.4, 0.6)
    )
    assert shown.splitlines()[0].startswith("Preview from text alone. Nothing was trained")
    assert shown.splitlines()[2].split() == ["web", "50.0%", "25.0%", "1.000"]


def test_benchmarks_without_text_are_named(tmp_path):
    path = toy.write_study(tmp_path)
    generated = {
        "name": "written", "kind": "generation", "items": "../data/written.jsonl",
        "capability": "birds",
    }  # fmt: skip
    toy.write_jsonl(tmp_path / "data" / "written.jsonl", [
        {"prompt": "one and", "target": "two"}, {"prompt": "the old", "target": "owl"},
    ])  # fmt: skip
    (tmp_path / "benchmarks" / "written.yaml").write_text(yaml.safe_dump(generated))
    found = toy.load(tmp_path, path).preview()
    assert found.left_out == ("written",)
    last = str(found).splitlines()[-1]
    assert last.startswith("Left out, for want of text to compare: written.")
