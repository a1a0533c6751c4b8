import json

import code_record
import pytest

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.code_versions import PACKAGES, VERSIONS, code_of
from mixopt.artifacts.store import ArtifactStore

RECORD = json.loads(code_record.RECORD.read_text())
COMMAND = "python tests/helpers/code_record.py"


@pytest.mark.parametrize("package", VERSIONS)
def test_no_change_of_code_goes_unnoticed(package):
    """Artifacts that other code made must not be found where this code makes other ones."""
    recorded = RECORD.get(package, {})
    assert recorded.get("code") == code_record.hash_package(package), (
        f"The code of {package!r} has changed. If it gives other results for the same input, raise its "
        f"version in mixopt/artifacts/code_versions.py. Then run: {COMMAND}"
    )
    assert recorded["version"] == VERSIONS[package], f"run: {COMMAND}"


def test_comments_and_docstrings_are_no_code(tmp_path, monkeypatch):
    monkeypatch.setattr(code_record, "ROOT", tmp_path)
    texts = [
        '"""What it is."""\n\n\ndef f(x):\n    """Says."""\n    return x + 1  # why\n',
        "def f(x):\n    # another reason\n    return x + 1\n",
        "def f(x):\n    return x + 2\n",
        'def f(x):\n    y = """Says."""\n    return x + 1\n',
    ]
    (tmp_path / "data" / "inner").mkdir(parents=True)
    hashes = []
    for text in texts:
        (tmp_path / "data" / "inner" / "a.py").write_text(text)
        hashes.append(code_record.hash_package("data"))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_each_package_is_a_folder_of_code_and_of_some_use():
    for package in VERSIONS.keys() - {"types"}:
        assert list((code_record.ROOT / package).glob("*.py")), package
    assert {package for packages in PACKAGES.values() for package in packages} == set(VERSIONS)


def test_another_version_is_another_artifact_and_the_reason_is_logged(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    store = ArtifactStore(tmp_path)
    before = {
        kind: store.get_or_build(Artifact(kind, "web", {"seed": 1}), lambda _: None)
        for kind in PACKAGES
    }
    monkeypatch.setattr(
        "mixopt.artifacts.code_versions.VERSIONS",
        {**VERSIONS, "training": VERSIONS["training"] + 1},
    )
    for kind, packages in PACKAGES.items():
        found = store.find(Artifact(kind, "web", {"seed": 1}))
        assert (found is None) == ("training" in packages), kind
    store.get_or_build(Artifact("experts", "web", {"seed": 1}), lambda _: None)
    old, new = VERSIONS["training"], VERSIONS["training"] + 1
    assert f"web is built again: code.training was {old} and is {new}." in caplog.text
    assert before["experts"].is_dir()


def test_mixopts_own_version_is_in_no_key(tmp_path, monkeypatch):
    store = ArtifactStore(tmp_path)
    made = store.get_or_build(Artifact("experts", "web", {"seed": 1}), lambda _: None)
    monkeypatch.setattr("mixopt.__version__", "99")
    assert store.find(Artifact("experts", "web", {"seed": 1})) == made


def test_kinds_without_code_have_no_versions():
    assert code_of("experts") == {"training": VERSIONS["training"]}
    assert code_of("nothing of ours") == {}
