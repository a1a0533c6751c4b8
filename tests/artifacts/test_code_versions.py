import json

import pytest
import step_code

from mixopt.artifacts.code_versions import KINDS, STEPS, code_of
from mixopt.artifacts.store import ArtifactStore

RECORD = json.loads(step_code.RECORD.read_text())


@pytest.mark.parametrize("step", STEPS)
def test_code_changes_no_step_in_silence(step):
    """Units that were made by other code must not be found by this one, where it makes others."""
    changed = [
        n for n in step_code.files_of(step) if step_code.hash_code(n) != RECORD["files"].get(n)
    ]
    assert not changed, (
        f"The code of {step!r} has changed ({', '.join(changed)}). If it makes other results of the "
        "same input, raise its version in mixopt/steps.py. Then run: python tests/step_code.py"
    )
    assert RECORD["versions"][step] == STEPS[step], "run: python tests/step_code.py"


def test_every_file_of_the_wings_belongs_to_a_step():
    named = {name for step in STEPS for name in step_code.files_of(step)}
    found = {
        str(path.relative_to(step_code.ROOT).with_suffix(""))
        for wing in step_code.WINGS
        for path in (step_code.ROOT / wing).rglob("*.py")
    }
    lacking = found - named - step_code.MAKE_NO_UNIT
    assert {name for name in lacking if not name.endswith("__init__")} == set()
    assert found >= step_code.MAKE_NO_UNIT
    for step, patterns in step_code.FILES.items():
        for pattern in patterns:
            assert list(step_code.ROOT.glob(f"{pattern}.py")), (step, pattern)


def test_comments_and_docstrings_are_no_code(tmp_path, monkeypatch):
    monkeypatch.setattr(step_code, "ROOT", tmp_path)
    texts = [
        '"""What it is."""\n\n\ndef f(x):\n    """Says."""\n    return x + 1  # why\n',
        "def f(x):\n    # another reason\n    return x + 1\n",
        "def f(x):\n    return x + 2\n",
        'def f(x):\n    y = """Says."""\n    return x + 1\n',
    ]
    told = []
    for text in texts:
        (tmp_path / "a.py").write_text(text)
        told.append(step_code.hash_code("a"))
    assert told[0] == told[1]
    assert len(set(told)) == 3


def test_another_version_of_a_step_is_another_unit_and_the_reason_is_told(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    journal = ArtifactStore(tmp_path)
    before = {kind: journal.make(kind, "web", {"seed": 1}, lambda _: None) for kind in KINDS}
    monkeypatch.setattr(
        "mixopt.artifacts.code_versions.STEPS", {**STEPS, "training": STEPS["training"] + 1}
    )
    for kind, steps in KINDS.items():
        found = journal.find(kind, "web", {"seed": 1})
        assert (found is None) == ("training" in steps), kind
    journal.make("experts", "web", {"seed": 1}, lambda _: None)
    assert "web is made again: code.training was 1 and is 2." in caplog.text
    assert before["experts"].is_dir()


def test_mixopts_own_version_is_in_no_key(tmp_path, monkeypatch):
    journal = ArtifactStore(tmp_path)
    made = journal.make("experts", "web", {"seed": 1}, lambda _: None)
    monkeypatch.setattr("mixopt.__version__", "99")
    assert journal.find("experts", "web", {"seed": 1}) == made


def test_kinds_name_steps_that_there_are():
    assert {step for steps in KINDS.values() for step in steps} == set(STEPS)
    assert code_of("experts") == {"training": STEPS["training"]}
    assert code_of("nothing of ours") == {}
