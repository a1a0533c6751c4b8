from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt.errors import UserError
from mixopt.pipeline import text_samples
from mixopt.pipeline.text_samples import (
    collect_samples,
    count_tokens,
    draw_passages,
    draw_target,
    equal_weights,
    require_text,
)


class Tokens:
    tokens = 100

    def read(self, start, length):
        return np.arange(start, start + length)


def test_passages_are_windows_of_the_corpus_that_do_not_overlap():
    rng = np.random.default_rng(0)
    found = draw_passages(Tokens(), "web", 8, 10, rng)
    assert len(found) == 8
    starts = [passage[0] for passage in found]
    assert starts == sorted(set(starts))
    assert all(start % 10 == 0 for start in starts)
    assert all(passage == list(range(passage[0], passage[0] + 10)) for passage in found)
    assert len(draw_passages(Tokens(), "web", 50, 10, rng)) == 10


def test_a_domain_too_small_for_transport_is_told_with_its_number():
    with pytest.raises(
        UserError, match="'web' has 100 tokens, 7 passages of 14, and transport needs 8"
    ):
        draw_passages(Tokens(), "web", 8, 14, np.random.default_rng(0))


def task(name, lengths, weights):
    requests = [SimpleNamespace(context=[0] + [1] * n, target=[2] * n) for n in lengths]
    return SimpleNamespace(metric=SimpleNamespace(name=name), requests=requests,
                           loss_weights=np.array(weights), starts=range(len(requests)))  # fmt: skip


def test_the_target_has_pieces_of_each_benchmark_by_its_weight():
    tasks = [task("a", [5, 3, 2], [1.0, 0.0, 1.0]), task("b", [5], [1.0]), task("c", [9], [1.0])]
    passages, masses, names = draw_target(tasks, {"a": 0.6, "b": 0.4}, 6, np.random.default_rng(0))
    assert names == ("a",) * 3 + ("b",) * 2
    assert sorted(map(len, passages[:3])) == [4, 4, 6]  # the second request of `a` does not count
    assert masses.tolist() == pytest.approx([0.2] * 3 + [0.2] * 2)
    with pytest.raises(UserError, match="none has any; choose by bits_per_byte"):
        draw_target(tasks, {}, 6, np.random.default_rng(0))


def test_passages_are_whole_or_the_larger_part_of_one():
    def windows(*sizes):
        own = task("a", [0] * len(sizes), [-1.0] * len(sizes))
        own.requests = [SimpleNamespace(context=[0], target=[1] * n) for n in sizes]
        own.starts = [0, len(sizes) - 1]
        return own

    # windows of 256 tokens behind a separator; the second document has 5
    passages, _, _ = draw_target(
        [windows(256, 256, 130, 5)], {"a": 1.0}, 128, np.random.default_rng(0)
    )
    assert [len(passage) for passage in passages] == [128] * 5 + [5]
    assert all(set(passage) == {1} for passage in passages)  # no separator
    passages, _, _ = draw_target([windows(192, 5)], {"a": 1.0}, 128, np.random.default_rng(0))
    assert [len(passage) for passage in passages] == [128, 64, 5]


def test_token_counts_are_shares():
    rows = count_tokens([[1, 1, 3], [3, 3, 3, 3]])
    assert rows**2 == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]))


@pytest.mark.slow
def test_samples_of_a_study_are_made_once(tmp_path, monkeypatch):
    study = toy.load(tmp_path, toy.write_study(tmp_path))
    context = study.context
    context.corpora.build()
    weights = equal_weights(context)
    # birds has two benchmarks that choose
    assert weights == pytest.approx(
        {"birds_heldout": 1 / 6, "continue": 1 / 6, "ships_heldout": 1 / 3, "sums_heldout": 1 / 3}
    )
    first = collect_samples(context, weights, name="test")
    assert list(first.sources) == ["birds", "ships", "sums"]
    assert first.masses.sum() == pytest.approx(1)
    monkeypatch.setattr(text_samples, "_embed", lambda *_: pytest.fail("embedded again"))
    again = collect_samples(context, weights, name="test")
    assert (again.target == first.target).all()
    assert set(again.benchmarks) == set(weights)
    assert again.benchmarks == first.benchmarks


@pytest.mark.slow
def test_too_few_passages_of_all_benchmarks_are_told_before_anything_is_trained(tmp_path):
    search = {"rounds": [6], "capability_weights": {"birds": 1, "ships": 0, "sums": 0}}
    path = toy.write_study(tmp_path, search=search)
    (tmp_path / "benchmarks" / "birds.yaml").unlink()  # `continue` has two short items
    context = toy.load(tmp_path, path).context
    context.corpora.build()
    with pytest.raises(UserError, match="have 2 passages of text together and transport needs 8"):
        require_text(context)
