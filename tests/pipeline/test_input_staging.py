import json
from pathlib import Path

import pytest
import toy

from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.config.loader import load_study
from mixopt.config.study import StudyConfig
from mixopt.errors import DataError
from mixopt.pipeline.input_staging import stage, unstage


@pytest.fixture
def recipe(tmp_path):
    return load_study(toy.write_study(tmp_path / "study"))


def test_another_machine_reads_the_same_items(recipe, tmp_path):
    url = f"memory://{tmp_path.name}"
    sent = stage(recipe, RemoteArtifactStore(tmp_path / "a", url))
    assert str(tmp_path) not in json.dumps([b.model_dump(mode="json") for b in sent.benchmarks])
    found = unstage(sent, RemoteArtifactStore(tmp_path / "b", url))
    for before, after in zip(recipe.benchmarks, found.benchmarks, strict=True):
        paths = [b.items if hasattr(b, "items") else b.text.paths[0] for b in (before, after)]
        assert paths[0] != paths[1]
        assert str(tmp_path / "b") in paths[1]
        texts = [Path(path).read_text() for path in paths]
        assert texts[0] == texts[1]
    # training text stays where it is: workers read corpora
    assert found.experts == recipe.experts


def test_a_base_and_given_experts_are_sent_whole(recipe, tmp_path):
    for name in ("base", "expert"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "w.bin").write_bytes(name.encode())
    plain = recipe.model_dump(mode="json")
    plain["base"] = {"kind": "pretrained", "path": str(tmp_path / "base")}
    plain["experts"][0]["checkpoint"] = str(tmp_path / "expert")
    told = StudyConfig.model_validate(plain)
    url = f"memory://{tmp_path.name}"
    sent = stage(told, RemoteArtifactStore(tmp_path / "a", url))
    found = unstage(sent, RemoteArtifactStore(tmp_path / "b", url))
    for place, name in ((found.base.path, "base"), (found.experts[0].checkpoint, "expert")):
        with open(f"{place}/deep/w.bin") as stream:
            assert stream.read() == name


def test_a_file_that_is_not_there_is_told(recipe, tmp_path):
    (tmp_path / "study" / "data" / "choice.jsonl").unlink()
    with pytest.raises(DataError, match="does not exist; fix the path"):
        stage(recipe, RemoteArtifactStore(tmp_path / "a", f"memory://{tmp_path.name}"))


def test_a_staged_path_stays_inside_its_unit(recipe, tmp_path):
    plain = recipe.model_dump(mode="json")
    plain["benchmarks"][0]["own_domain"] = None
    plain["benchmarks"][0] = {
        "kind": "continuation", "name": "evil", "items": "unit:x-1/../../etc/passwd",
    }  # fmt: skip
    told = StudyConfig.model_validate(plain)
    found = unstage(told, RemoteArtifactStore(tmp_path / "a", f"memory://{tmp_path.name}"))
    assert found.benchmarks[0].items == "unit:x-1/../../etc/passwd"  # which is no file
