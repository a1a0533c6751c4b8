import json

import pytest
from plans import BARE, PROPOSAL, SCHEDULE, proposal

from mixopt import Phase, Schedule
from mixopt.errors import ArgumentTypeError, ExportError, UserError
from mixopt.schedule import read_plan


def test_the_whole_run_is_its_phases_by_their_tokens():
    assert SCHEDULE.tokens == 5_120_000
    assert SCHEDULE.ratios["code"] == pytest.approx(0.8 * 0.25 + 0.2 * 0.5)


def test_json_and_back(tmp_path):
    path = tmp_path / "schedule.json"
    assert SCHEDULE.write(path) == path
    assert read_plan(path).to_json() == SCHEDULE.to_json()
    path.write_text(PROPOSAL.to_json())
    assert read_plan(path).budget == PROPOSAL.budget


def test_what_is_no_schedule(tmp_path):
    first, other = (json.loads(SCHEDULE.to_json())["phases"][0] for _ in range(2))
    other |= {"name": "other", "proposal": json.loads(proposal({"web": 0.5, "law": 0.5}).to_json())}
    for plan, words in (
        ({"phases": []}, "A schedule has no phase"),
        ({"phases": [{"name": "a"}]}, "'proposal'"),
        ({"phases": 3}, "not iterable"),
        ({"phases": [first, first]}, "Two phases have one name"),
        ({"phases": [first, other]}, "different domains"),
    ):
        path = tmp_path / "s.json"
        path.write_text(json.dumps(plan))
        with pytest.raises(ExportError, match=f"not a schedule that mixopt wrote .*{words}"):
            read_plan(path)


@pytest.mark.parametrize("name", ["../../escape", "a/b", "", ".", "x y"])
def test_names_of_phases_stay_in_their_folder(tmp_path, name):
    plan = json.loads(SCHEDULE.to_json())
    plan["phases"][0]["name"] = name
    (tmp_path / "s.json").write_text(json.dumps(plan))
    with pytest.raises(ExportError, match="is no name of a phase"):
        read_plan(tmp_path / "s.json")


def test_a_phase_needs_its_tokens():
    with pytest.raises(ExportError, match="Phase 'a' has no token budget"):
        _ = Phase("a", BARE).tokens


def test_reprs_name_the_phases_with_their_tokens():
    told = repr(SCHEDULE)
    assert told.startswith("Schedule(")
    for phase in SCHEDULE.phases:
        assert f"{phase.name} ({phase.tokens:.3g} tokens): " in told
        assert phase.name in SCHEDULE._repr_html_()
    assert repr(Schedule((Phase("a", BARE),))).startswith("Schedule(a: ")


def test_a_schedule_that_was_edited_says_so(tmp_path, caplog):
    path = SCHEDULE.write(tmp_path / "schedule.json")
    read_plan(path)
    assert caplog.text == ""
    plain = json.loads(path.read_text())
    name = plain["phases"][0]["name"]
    plain["phases"][0]["proposal"]["verdict"] = "better than everything"
    path.write_text(json.dumps(plain))
    read_plan(path)
    assert f"schedule.json, phase {name} was changed after mixopt wrote it" in caplog.text


def test_a_schedule_that_notepad_saved_is_read(tmp_path):
    path = SCHEDULE.write(tmp_path / "schedule.json")
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_plan(path) == SCHEDULE


def test_schedules_are_checked_where_they_are_made():
    first = SCHEDULE.phases[0]
    for phases, words in (
        ((), "A schedule has no phase; give at least one"),
        ((first, first), f"Two phases have one name, '{first.name}'"),
        ((first, Phase("other", proposal({"web": 0.5, "law": 0.5}))), "have different domains"),
        ((first, Phase("a/b", first.proposal)), "'a/b' is no name of a phase; give letters"),
        ((first, Phase("", first.proposal)), "'' is no name of a phase"),
        ((first, Phase(2, first.proposal)), "2 is no name of a phase"),
        ((first, PROPOSAL), "A phase is a Proposal, not a Phase; give mixopt.Phase"),
        (first, "phases is a Phase; give a list of Phase"),
    ):
        with pytest.raises(UserError, match=words):
            Schedule(phases)
    with pytest.raises(ArgumentTypeError, match="max_repetition of web is 'x'; give a number"):
        Schedule((first,), {"web": "x"})
    assert Schedule([first]) == Schedule((first,))
