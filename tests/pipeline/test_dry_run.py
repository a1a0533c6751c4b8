import pytest
import toy

import mixopt
from mixopt.artifacts.store import ArtifactStore
from mixopt.callbacks.callback_list import CallbackList
from mixopt.errors import DivergedError, RunError
from mixopt.executors.job import Job
from mixopt.pipeline.dry_run import DryFoundation, NotMadeError
from mixopt.pipeline.results import write_result


@pytest.fixture
def ground(tmp_path):
    path = toy.write_study(tmp_path)
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    _ = study.foundation.crew  # texts and base are there, experts are not
    callbacks = CallbackList(study.recipe, None)
    return DryFoundation(study.recipe, study.site, callbacks)


EXPERT = Job("train_expert", ("ships",), "expert 'ships'", trains=True)


def test_the_first_thing_that_would_be_made_is_told(ground):
    with pytest.raises(NotMadeError) as missing:
        _ = ground.experts
    assert (missing.value.kind, missing.value.folder.parent.name) == ("experts", "experts")
    assert missing.value.key["code"] == {"training": 1}


def test_what_failed_before_is_taken_to_fail_again(ground):
    with pytest.raises(NotMadeError):
        list(ground.hands.do([EXPERT]))
    journal, name = ArtifactStore(ground.site.journal), "ships"
    _, key = _unit_of(ground, name)

    def fail(_):
        raise DivergedError("the loss was not finite.")

    with pytest.raises(DivergedError):
        journal.make("experts", name, key, fail)
    again = DryFoundation(ground.recipe, ground.site, ground.callbacks)
    ((_, error),) = again.hands.do([EXPERT])
    assert isinstance(error, RunError)
    assert str(error) == "the loss was not finite."


def test_a_worker_that_was_lost_is_remembered_by_its_job(ground):
    own = {"verb": EXPERT.verb, "arguments": EXPERT.arguments}
    ArtifactStore(ground.site.journal).note_failure("jobs", EXPERT.name, own, RunError("killed"))
    again = DryFoundation(ground.recipe, ground.site, ground.callbacks)
    ((_, error),) = again.hands.do([EXPERT])
    assert str(error) == "killed"


def test_nothing_is_written(ground):
    before = sorted(ground.site.journal.parent.rglob("*"))
    write_result(ground.callbacks, "proposal.json", "{}")
    with pytest.raises(NotMadeError):
        _ = ground.searcher
    assert sorted(ground.site.journal.parent.rglob("*")) == before


def _unit_of(ground, name):
    """Name and key of an expert's unit, as the laboratory asks for it."""
    asked = []
    lab = ground.site.open_laboratory(ground.recipe)
    find = lab.store.find
    lab.store.find = lambda *unit: asked.append(unit) or find(*unit)
    assert not lab.has_expert(name)
    kind, told, key = asked[-1]
    assert (kind, told) == ("experts", name)
    return told, key
