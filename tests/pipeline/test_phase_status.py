"""The status of a study with phases is that of what a run would find now."""

import json
import shutil

import pytest
import toy

import mixopt
from mixopt.config.study import StudyConfig

pytestmark = pytest.mark.slow
PHASES = toy.PHASES
EXPORTS = [{"format": "megatron", "out": "{phase}.txt", "paths": "/d/{domain}"}]
PLAN = ["schedule.json", "export {phase}.txt"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phase-status")
    path = toy.write_study(folder, phases=PHASES, exports=EXPORTS, search={"rounds": [8]})
    study = mixopt.Study.load(path, folder / "out", cache=folder / "cache", device="cpu")
    study.run()
    return study


def states(study):
    return {row.what: row.state for row in study.status()}


def changed(study, **sections):
    """The finished study with other fields, in the same folders."""
    plain = study.config.model_dump(mode="json")
    for name, section in sections.items():
        plain[name] = plain[name] | section if isinstance(section, dict) else section
    config = StudyConfig.model_validate(plain)
    folders = {"cache": study.environment.cache, "device": "cpu"}
    return mixopt.Study(config, study.output, **folders)


def test_after_a_run_everything_is_done(finished):
    rows = states(finished)
    assert set(rows.values()) == {"done"}
    assert {what.partition(":")[0] for what in rows} == {"stable", "anneal", *PLAN}
    assert "anneal: base" in rows


def test_a_schedule_that_is_gone_or_damaged_is_left(finished):
    schedule = finished.output / "schedule.json"
    written = schedule.read_bytes()
    for content in (None, b"{", b"[]"):
        schedule.write_bytes(content) if content else schedule.unlink()
        assert [what for what, state in states(finished).items() if state != "done"] == PLAN
    schedule.write_bytes(written)


def test_a_schedule_of_other_proposals_is_left(finished):
    file = finished.output / "schedule.json"
    written = file.read_text()
    plain = json.loads(written)
    plain["phases"][0]["proposal"]["ratios"] = plain["phases"][1]["proposal"]["ratios"]
    file.write_text(json.dumps(plain))
    assert [what for what, state in states(finished).items() if state != "done"] == PLAN
    file.write_text(written)


def test_a_changed_study_is_left_as_a_run_would_do_it_again(finished):
    rows = states(changed(finished, training={"learning_rate": 5e-3}))
    assert rows["stable: text birds"] == "done"
    assert rows["stable: expert birds"] == rows["stable: proposal"] == "left"
    assert rows["phase anneal"] == "left"
    assert [rows[what] for what in PLAN] == ["left", "left"]
    assert not any(what.startswith("anneal:") for what in rows)


def test_a_change_of_a_later_phase_leaves_the_first_done(finished):
    later = PHASES[1] | {"base_tokens": 3_000}
    rows = {r.what: r for r in changed(finished, phases=[PHASES[0], later]).status()}
    assert {row.state for what, row in rows.items() if what.startswith("stable:")} == {"done"}
    assert rows["anneal: base"].state == rows["schedule.json"].state == "left"
    assert "anneal: expert birds" not in rows


def test_it_needs_no_recipe_of_an_earlier_run_and_writes_nothing(finished, tmp_path):
    """A recipe has the paths of the machine that wrote it, and no credentials."""
    there = tmp_path / "out"
    shutil.copytree(finished.output, there)
    for recipe in there.rglob("recipe.yaml"):
        recipe.unlink()
    before = sorted(there.rglob("*"))
    moved = mixopt.Study(finished.config, there, cache=finished.environment.cache, device="cpu")
    assert set(states(moved).values()) == {"done"}
    assert sorted(there.rglob("*")) == before


def test_before_a_run_the_first_phase_is_listed(tmp_path):
    path = toy.write_study(tmp_path, phases=PHASES, exports=EXPORTS)
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    rows = {row.what: row for row in study.status()}
    assert {row.state for row in rows.values()} == {"left"}
    assert rows["stable: text birds"].why == "needs the tokenizer first"
    assert rows["phase anneal"].why == "needs the proposal of phase stable first"
    assert not (tmp_path / "out" / "phases").exists()
