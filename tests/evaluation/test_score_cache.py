import shutil
from pathlib import Path

import numpy as np
import pytest

from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.score_cache import CandidateScores, ScoreCache
from mixopt.evaluation.tasks.base import ItemResults

ROW = (0.25, 0.75)


def results(value, *names):
    found = {name: ItemResults(np.array([value, 1.0]), np.array([1.0, 2.0])) for name in names}
    return CandidateScores({"merged": found, "ensembled": dict(found)}, dict.fromkeys(names, value))


def cache(folder, **digests):
    return ScoreCache(ArtifactStore(folder), "scores", {"base": "b"}, digests)


def keep(cache, scores, error=None):
    """Build the artifact of a candidate as the evaluator does."""

    def build(folder):
        if error is not None:
            cache.save_part(ROW, scores)
            raise error
        cache.save(ROW, scores, folder)

    cache.store.get_or_build(cache.artifact(ROW), build)


def test_scores_are_found_as_they_were_kept(tmp_path):
    first = cache(tmp_path, a="1", b="2")
    keep(first, results(0.1 + 0.2, "b", "a"))
    found = cache(tmp_path, a="1", b="2").find(ROW)
    assert list(found.results["merged"]) == ["a", "b"]  # in the benchmarks' order
    assert found.results["merged"]["a"].values[0] == 0.1 + 0.2
    assert found.losses == {"a": 0.1 + 0.2, "b": 0.1 + 0.2}
    assert cache(tmp_path, a="1", b="2").find((0.5, 0.5)) is None


def test_a_benchmark_more_is_scored_alone_and_one_less_not_at_all(tmp_path):
    keep(cache(tmp_path, a="1", b="2"), results(1.0, "a", "b"))
    more = cache(tmp_path, a="1", b="2", c="3")
    assert more.find(ROW) is None
    assert more.gather(ROW).benchmarks == {"a", "b"}
    keep(more, results(2.0, "c"))
    assert {n: r.values[0] for n, r in more.find(ROW).results["merged"].items()} == {
        "a": 1.0, "b": 1.0, "c": 2.0,
    }  # fmt: skip
    less = cache(tmp_path, b="2")
    keep(less, CandidateScores())
    assert less.find(ROW).benchmarks == {"b"}


def test_a_benchmark_that_changed_is_scored_again_and_the_others_are_kept(tmp_path):
    keep(cache(tmp_path, a="1", b="2"), results(1.0, "a", "b"))
    changed = cache(tmp_path, a="1", b="other")
    assert changed.gather(ROW).benchmarks == {"a"}


def test_a_partial_score_keeps_what_it_has(tmp_path):
    first = cache(tmp_path, a="1", b="2")
    with pytest.raises(OSError, match="b broke"):
        keep(first, results(1.0, "a"), OSError("b broke"))
    assert first.find(ROW) is None
    assert first.gather(ROW).benchmarks == {"a"}
    later = cache(tmp_path, a="1", b="2")
    assert later.gather(ROW).benchmarks == {"a"}
    keep(later, results(3.0, "b"))
    assert {n: r.values[0] for n, r in later.find(ROW).results["merged"].items()} == {
        "a": 1.0, "b": 3.0,
    }  # fmt: skip


def test_what_another_process_kept_in_part_is_seen_by_who_looks(tmp_path):
    here, there = cache(tmp_path, a="1", b="2"), cache(tmp_path, a="1", b="2")
    assert here.gather(ROW) == CandidateScores()
    with pytest.raises(OSError, match="b broke"):
        keep(there, results(1.0, "a"), OSError("b broke"))
    assert here.gather(ROW, refresh=True).benchmarks == {"a"}


def test_nothing_is_kept_of_what_failed_whole(tmp_path):
    first = cache(tmp_path, a="1")
    with pytest.raises(OSError, match="no"):
        keep(first, CandidateScores(), OSError("no"))
    assert not any(ArtifactStore(tmp_path).list_kind("scores"))


def test_scores_of_another_candidate_are_not_taken(tmp_path):
    """Its folder, copied to this candidate's name, has a whole key of its own."""
    first = cache(tmp_path, a="1", b="2")
    other = (0.5, 0.5)
    first.store.get_or_build(first.artifact(other, ["a"]), results(1.0, "a").save)
    source = first.store.path(first.artifact(other, ["a"]))
    manifest = source / "artifact.json"
    manifest.write_text(manifest.read_text().replace('"artifact"', '"earlier"'))
    name = first.artifact(ROW).folder_name.rpartition("-")[0]
    shutil.copytree(source, source.parent / f"{name}-{source.name.rpartition('-')[2]}")
    again = cache(tmp_path, a="1", b="2")
    assert again.gather(ROW, refresh=True) == CandidateScores()
    assert again.gather(other, refresh=True).benchmarks == {"a"}


def test_a_folder_of_many_candidates_is_listed_once(tmp_path, monkeypatch):
    """A benchmark that is added asks twice about each of them."""
    rows = [(share / 20, 1 - share / 20) for share in range(20)]
    first, listings = cache(tmp_path, a="1"), []
    for row in rows:
        first.store.get_or_build(first.artifact(row), results(1.0, "a").save)
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *args: listings.append(args) or glob(*args))
    more = cache(tmp_path, a="1", b="2")
    for row in rows:
        assert more.missing(row) == ("b",)
        more.store.get_or_build(
            more.artifact(row), lambda folder, row=row: more.save(row, results(2.0, "b"), folder)
        )
        assert more.find(row).benchmarks == {"a", "b"}
    of_scores = [args for args in listings if args[0] == tmp_path / "scores" and args[1] == "[!.]*"]
    assert len(of_scores) == 1
    assert not [args for args in listings if "candidate" in args[1]]
