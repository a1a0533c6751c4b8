import numpy as np
import pytest

from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.score_cache import CandidateScores, ScoreCache, in_shards
from mixopt.evaluation.tasks.base import ItemResults

ROW = (0.25, 0.75)


def results(value, *names):
    found = {name: ItemResults(np.array([value, 1.0]), np.array([1.0, 2.0])) for name in names}
    return CandidateScores({"merged": found, "ensembled": dict(found)}, dict.fromkeys(names, value))


def book(folder, **digests):
    return ScoreCache(ArtifactStore(folder), "scores", {"base": "b"}, digests)


def fails(error):
    def measure():
        raise error

    return measure


def test_scores_are_found_as_they_were_kept(tmp_path):
    first = book(tmp_path, a="1", b="2")
    first.make(ROW, lambda: (results(0.1 + 0.2, "b", "a"), None))
    found = book(tmp_path, a="1", b="2").find(ROW)
    assert list(found.results["merged"]) == ["a", "b"]  # in the benchmarks' order
    assert found.results["merged"]["a"].values[0] == 0.1 + 0.2
    assert found.losses == {"a": 0.1 + 0.2, "b": 0.1 + 0.2}
    assert book(tmp_path, a="1", b="2").find((0.5, 0.5)) is None


def test_a_benchmark_more_is_scored_alone_and_one_less_not_at_all(tmp_path):
    book(tmp_path, a="1", b="2").make(ROW, lambda: (results(1.0, "a", "b"), None))
    more = book(tmp_path, a="1", b="2", c="3")
    assert more.find(ROW) is None
    assert more.gather(ROW).benchmarks == {"a", "b"}
    more.make(ROW, lambda: (results(2.0, "c"), None))
    assert {n: r.values[0] for n, r in more.find(ROW).results["merged"].items()} == {
        "a": 1.0, "b": 1.0, "c": 2.0,
    }  # fmt: skip
    less = book(tmp_path, b="2")
    less.make(ROW, lambda: (CandidateScores(), None))
    assert less.find(ROW).benchmarks == {"b"}


def test_a_benchmark_that_changed_is_scored_again_and_the_others_are_kept(tmp_path):
    book(tmp_path, a="1", b="2").make(ROW, lambda: (results(1.0, "a", "b"), None))
    changed = book(tmp_path, a="1", b="other")
    assert changed.gather(ROW).benchmarks == {"a"}


def test_a_partial_score_keeps_what_it_has(tmp_path):
    first = book(tmp_path, a="1", b="2")
    with pytest.raises(OSError, match="b broke"):
        first.make(ROW, lambda: (results(1.0, "a"), OSError("b broke")))
    assert first.find(ROW) is None
    assert first.gather(ROW).benchmarks == {"a"}
    later = book(tmp_path, a="1", b="2")
    assert later.gather(ROW).benchmarks == {"a"}
    later.make(ROW, lambda: (results(3.0, "b"), None))
    assert {n: r.values[0] for n, r in later.find(ROW).results["merged"].items()} == {
        "a": 1.0, "b": 3.0,
    }  # fmt: skip


def test_what_another_process_kept_in_part_is_seen_by_who_looks(tmp_path):
    here, there = book(tmp_path, a="1", b="2"), book(tmp_path, a="1", b="2")
    assert here.gather(ROW) == CandidateScores()
    with pytest.raises(OSError, match="b broke"):
        there.make(ROW, lambda: (results(1.0, "a"), OSError("b broke")))
    assert here.gather(ROW, look=True).benchmarks == {"a"}


def test_nothing_is_kept_of_what_failed_whole(tmp_path):
    first = book(tmp_path, a="1")
    with pytest.raises(OSError, match="no"):
        first.make(ROW, fails(OSError("no")))
    assert list(ArtifactStore(tmp_path).units("scores")) == []


def test_shards():
    assert list(in_shards([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
