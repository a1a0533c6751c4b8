import os
import shutil

import pytest
import toy
from calling import call

import mixopt
from mixopt.artifacts.artifact import build_lock
from mixopt.errors import DivergedError

pytestmark = pytest.mark.slow


def load(path, folder):
    return mixopt.Study.load(path, folder / "out", cache=folder / "cache", device="cpu")


def states(rows):
    return {row.what: row.state for row in rows}


@pytest.fixture(scope="module")
def finished(trained_toy, tmp_path_factory):
    folder = toy.copy_trained(trained_toy, tmp_path_factory.mktemp("status"))
    path = toy.write_study(folder, validation={"mixtures": 4, "seeds": 1}, search={"rounds": [8]})
    load(path, folder).run()
    return path, folder


def test_before_anything_everything_is_left_and_says_what_it_needs(tmp_path):
    rows = load(toy.write_study(tmp_path), tmp_path).status()
    assert set(states(rows).values()) == {"left"}
    told = {row.what: row.why for row in rows}
    assert told["text birds"] == told["base"] == "needs the tokenizer first"
    assert told["round 1"] == told["report.html"] == "needs the tokenizer first"
    assert not (tmp_path / "out" / "artifacts").exists()  # looking makes nothing


def test_after_a_run_everything_is_done_with_its_cost(finished):
    rows = load(*finished).status()
    assert set(states(rows).values()) == {"done"}
    costs = {row.what: (row.seconds, row.n_bytes) for row in rows}
    for what in ("tokenizer", "text ships", "base", "expert sums", "round 1", "first proposal",
                 "proxy runs", "proposal", "export mixture.yaml"):  # fmt: skip
        assert costs[what][0] > 0, what
        assert costs[what][1] > 100, what


def changed(finished, **sections):
    """What a survey says of the finished study with other sections in its recipe, by piece."""
    path, folder = finished
    study = load(path, folder)
    plain = study.config.model_dump(mode="json")
    for name, section in sections.items():
        plain[name] = plain[name] | section if isinstance(section, dict) else section
    config = type(study.config).model_validate(plain)
    other = mixopt.Study(config, folder / "out", cache=folder / "cache", device="cpu")
    before = sorted(str(path) for path in folder.rglob("*"))
    rows = {row.what: row for row in other.status()}
    assert sorted(str(path) for path in folder.rglob("*")) == before  # looking makes nothing
    return rows


def test_a_changed_recipe_says_what_would_be_done_again_and_why(finished):
    rows = changed(finished, training={"learning_rate": 5e-3})
    assert rows["base"].state == rows["text birds"].state == "done"
    assert rows["expert birds"].state == "left"
    assert "training.learning_rate was 0.01 and is 0.005" in rows["expert birds"].why
    assert rows["round 1"].state == rows["proposal"].state == "left"
    assert rows["round 1"].why.startswith("needs the experts first: ")
    assert rows["round 1"].why.endswith("training.learning_rate was 0.01 and is 0.005")


def test_a_search_that_trains_its_candidates_needs_runs_and_no_budget(finished):
    rows = changed(finished, search={"method": "regmix"}, validation=None)
    assert rows["expert birds"].state == "done"
    assert rows["round 1"].state == "left"
    assert rows["round 1"].why == "needs trained runs of mixtures first"


def test_other_bounds_search_again_and_train_nothing(finished):
    rows = changed(finished, search={"upper": {"birds": 0.4}})
    assert rows["expert birds"].state == "done"
    assert (
        rows["round 1"].state == rows["first proposal"].state == rows["report.html"].state == "left"
    )
    assert rows["round 1"].why.endswith("of 8 candidates scored")


def test_a_benchmark_that_has_changed_says_so(finished):
    path, folder = finished
    benchmarks = load(path, folder).config.model_dump(mode="json")["benchmarks"]
    items = folder / "data" / "other.jsonl"
    lines = (folder / "data" / "continue.jsonl").read_text().splitlines()
    items.write_text("\n".join(reversed(lines)) + "\n")
    for told in benchmarks:
        if told["name"] == "continue":
            told["items"] = str(items)
    rows = changed(finished, benchmarks=benchmarks)
    assert rows["expert birds"].state == "done"
    assert rows["round 1"].state == "left"
    assert rows["round 1"].why.startswith(
        "needs the sizes of base and experts first: benchmarks was "
    )


def test_more_proposals_need_a_proposal_and_nothing_before(finished):
    rows = changed(finished, search={"proposals": 2})
    assert rows["round 1"].state == "done"
    assert rows["first proposal"].state == "left"
    assert rows["proxy runs"].state == "left"


def test_another_export_is_all_that_is_left(finished):
    exports = [{"format": "json", "out": "mixture.yaml"}, {"format": "yaml", "out": "more.yaml"}]
    rows = changed(finished, exports=exports)
    left = {what: row.why for what, row in rows.items() if row.state != "done"}
    assert left == {"export mixture.yaml": "built before, and format was yaml and is json",
                    "export more.yaml": ""}  # fmt: skip


def test_results_that_went_are_left(finished):
    path, folder = finished
    needed = {
        "report.html": {"report.html"},
        "exports/mixture.yaml": {"export mixture.yaml"},
        "proposal.json": {"proposal", "report.html"},
    }
    for name, what in needed.items():
        file = folder / "out" / name
        content, when = file.read_bytes(), file.stat()
        file.unlink()
        rows = load(path, folder).status()
        assert {row.what for row in rows if row.state != "done"} == what
        file.write_bytes(content)
        os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))


def test_what_a_worker_scores_now_is_running(finished, tmp_path):
    path, folder = finished
    shutil.copytree(folder, tmp_path / "copy")
    copy = tmp_path / "copy"
    scores = copy / "out" / "artifacts" / "scores"
    asked = {f.name for f in scores.iterdir()}
    study = load(path, copy)
    search = study.open_search()
    chosen = search.choose(1, 8, search.no_trials, None, {})
    weights = search.evaluator.respond(chosen.rows[7].tolist())
    artifact = chosen.items.cache.artifact(tuple(map(float, weights)))
    place = study.context.store.path(artifact)
    assert place.name in asked
    shutil.rmtree(place)
    rows = {row.what: row for row in study.status()}
    assert (rows["round 1"].state, rows["proposal"].state) == ("left", "left")
    assert rows["round 1"].why == "7 of 8 candidates scored"
    with build_lock(place):
        assert {row.what: row for row in study.status()}["round 1"].state == "running"


def test_what_failed_is_told_with_its_cause_until_it_is_made(toy_folder, monkeypatch):
    from mixopt.training import trainer

    toy.forget_expert(toy_folder, "ships")
    study = load(toy.write_study(toy_folder), toy_folder)
    real = trainer.train

    def train(*arguments, name, **rest):
        if name == "ships":
            raise DivergedError("the loss of ships was not finite at step 3.")
        return real(*arguments, name=name, **rest)

    monkeypatch.setattr(trainer, "train", train)
    study.train()
    load(toy.write_study(toy_folder), toy_folder).train()
    row = next(row for row in study.status() if row.what == "expert ships")
    assert row.state == "failed"
    assert row.why == "the loss of ships was not finite at step 3. (tried 2 times)"
    monkeypatch.setattr(trainer, "train", real)
    load(toy.write_study(toy_folder), toy_folder).train()
    assert states(study.status())["expert ships"] == "done"


def test_parts_of_items_and_experts_set_aside_are_counted(toy_folder, monkeypatch):
    from mixopt.training import trainer

    toy.forget_expert(toy_folder, "ships")
    real = trainer.train

    def train(*arguments, name, **rest):
        if name == "ships":
            raise DivergedError("the loss of ships was not finite.")
        return real(*arguments, name=name, **rest)

    monkeypatch.setattr(trainer, "train", train)
    study = load(
        toy.write_study(toy_folder, search={"rounds": [7, 3], "item_share": 0.5}), toy_folder
    )
    study.search()
    rows = {row.what: row for row in study.status()}
    assert rows["expert ships"].state == "failed"
    assert rows["round 1"].state == rows["round 2"].state == "done"
    assert rows["proposal"].state == "left"


def test_from_the_shell(finished, monkeypatch):
    path, folder = finished
    monkeypatch.setenv("MIXOPT_CACHE", str(folder / "cache"))
    told = call("status", path, "-o", folder / "out", "--device", "cpu")
    assert "done     expert ships" in told
    assert "8 of 8 candidates scored" in told
    assert "s of work in" in told
