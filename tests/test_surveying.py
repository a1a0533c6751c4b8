import pytest
import toy
from cli.calling import call

import mixopt
from mixopt.errors import DivergedError
from mixopt.surveying import survey


def load(path, folder):
    return mixopt.Study.load(path, folder / "out", cache=folder / "cache", device="cpu")


def states(rows):
    return {row.what: row.state for row in rows}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    path = toy.write_study(folder, validation={"mixtures": 4, "seeds": 1}, search={"rounds": [8]})
    load(path, folder).run()
    return path, folder


def test_before_anything_everything_is_left_and_says_what_it_needs(tmp_path):
    rows = survey(load(toy.write_study(tmp_path), tmp_path))
    assert set(states(rows).values()) == {"left"}
    told = {row.what: row.why for row in rows}
    assert told["text birds"] == told["base"] == "needs the tokenizer first"
    assert told["candidates"] == "0 merges scored; the rounds ask for 11"
    assert not (tmp_path / "out" / "journal").exists()  # looking makes nothing


def test_after_a_run_everything_is_done_with_its_cost(finished):
    rows = survey(load(*finished))
    assert set(states(rows).values()) == {"done"}
    costs = {row.what: (row.seconds, row.n_bytes) for row in rows}
    for what in ("tokenizer", "text ships", "base", "expert sums", "candidates", "proxy runs"):
        assert costs[what][0] > 0, what
        assert costs[what][1] > 100, what


def test_a_changed_recipe_says_what_would_be_done_again_and_why(finished):
    path, folder = finished
    study = load(path, folder)
    training = study.recipe.training.model_copy(update={"learning_rate": 5e-3})
    changed = mixopt.Study(
        study.recipe.model_copy(update={"training": training}), folder / "out",
        cache=folder / "cache", device="cpu",
    )  # fmt: skip
    rows = {row.what: row for row in survey(changed)}
    assert rows["base"].state == rows["text birds"].state == "done"
    assert rows["expert birds"].state == "left"
    assert "training.learning_rate was 0.01 and is 0.005" in rows["expert birds"].why
    assert rows["candidates"].state == "left"


def test_what_failed_is_told_with_its_cause_until_it_is_made(tmp_path, monkeypatch):
    from mixopt.proxies import laboratory

    study = load(toy.write_study(tmp_path), tmp_path)
    real = laboratory.train

    def train(*arguments, name, **rest):
        if name == "ships":
            raise DivergedError("the loss of ships was not finite at step 3.")
        return real(*arguments, name=name, **rest)

    monkeypatch.setattr(laboratory, "train", train)
    study.train()
    load(toy.write_study(tmp_path), tmp_path).train()
    row = next(row for row in survey(study) if row.what == "expert ships")
    assert row.state == "failed"
    assert row.why == "the loss of ships was not finite at step 3. (tried 2 times)"
    monkeypatch.setattr(laboratory, "train", real)
    load(toy.write_study(tmp_path), tmp_path).train()
    assert states(survey(study))["expert ships"] == "done"


def test_a_mended_recipe_forgets_what_failed_before(tmp_path):
    from mixopt.runtime.journal import Journal

    journal = Journal(tmp_path)

    def fail(_):
        raise DivergedError("no")

    for kind, name in (("experts", "web"), ("scores", "candidate")):
        with pytest.raises(DivergedError):
            journal.make(kind, name, {"rate": 1}, fail)
        journal.make(kind, name, {"rate": 2}, lambda scratch: None)
    (left,) = journal.failures()  # another candidate says nothing about the one that failed
    assert (left.kind, left.name, left.times) == ("scores", "candidate", 1)
    assert left.folder.startswith("candidate-")


def test_parts_of_items_and_experts_set_aside_are_counted(tmp_path, monkeypatch):
    from mixopt.proxies import laboratory

    real = laboratory.train

    def train(*arguments, name, **rest):
        if name == "ships":
            raise DivergedError("the loss of ships was not finite.")
        return real(*arguments, name=name, **rest)

    monkeypatch.setattr(laboratory, "train", train)
    study = load(toy.write_study(tmp_path, search={"rounds": [7, 3], "item_share": 0.5}), tmp_path)
    study.search()
    rows = {row.what: row for row in survey(study)}
    assert rows["expert ships"].state == "failed"
    assert rows["candidates"].state == "done"


def test_from_the_shell(finished, monkeypatch):
    path, folder = finished
    monkeypatch.setenv("MIXOPT_CACHE", str(folder / "cache"))
    told = call("status", path, "-o", folder / "out", "--device", "cpu")
    assert "done     expert ships" in told
    assert "merges scored; the rounds ask for 8" in told
    assert "s of work in" in told
