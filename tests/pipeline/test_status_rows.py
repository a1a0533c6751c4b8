from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore, MissingArtifactError
from mixopt.errors import DataError
from mixopt.pipeline.status_rows import StatusRow, model_row, needs, sum_costs

EXPERT = Artifact("experts", "web", {"tokens": 4})


def raise_error(error):
    raise error


def test_a_model_is_left_or_done_with_its_cost(tmp_path):
    store = ArtifactStore(tmp_path)
    assert model_row("expert web", store, lambda: EXPERT) == StatusRow("expert web", "left")
    store.get_or_build(EXPERT, lambda folder: (folder / "weights").write_text("12345"), lambda: 7.0)
    row = model_row("expert web", store, lambda: EXPERT)
    assert (row.state, row.seconds) == ("done", 7.0)
    assert row.n_bytes >= 5
    assert model_row("given", store, lambda: None) == StatusRow("given", "done")


def test_why_a_model_is_not_done(tmp_path):
    store = ArtifactStore(tmp_path)
    base = Artifact("base", "base", {})
    missing = model_row("expert web", store, lambda: raise_error(MissingArtifactError(base)))
    assert (missing.state, missing.why) == ("left", "needs the base first")
    broken = model_row("text web", store, lambda: raise_error(DataError("web is no file.")))
    assert (broken.state, broken.why) == ("failed", "web is no file.")
    store.record_failure(EXPERT, OSError("a card fell out"))
    failed = model_row("expert web", store, lambda: EXPERT)
    assert failed.state == "failed"
    assert "a card fell out (tried 1 times)" in failed.why


def test_costs_and_kinds_without_words():
    assert sum_costs([None, None]) == (0, 0)
    assert needs(Artifact("other", "x", {})) == "needs other first"
