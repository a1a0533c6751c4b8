import numpy as np
import pytest
from models_for_tests import make_corpus as make

from mixopt import Mixture
from mixopt.errors import DataError
from mixopt.training.dataset import MixtureDataset, interleave


def test_batches_hold_the_ratios_exactly_and_repeat_nothing_early(tmp_path):
    corpora = {name: make(tmp_path, name)[0] for name in ("birds", "ships", "sums")}
    ratios = Mixture({"birds": 0.5, "ships": 0.3, "sums": 0.2})
    dataset = MixtureDataset(corpora, ratios, sequences=50, context=32, seed=1)
    assert np.bincount(dataset._domains).tolist() == [25, 15, 10]
    pairs = set(zip(dataset._domains.tolist(), dataset._windows.tolist(), strict=True))
    assert len(pairs) == 50
    item = dataset[0]
    assert item["input_ids"].shape == (32,)
    owner = corpora[list(ratios)[dataset._domains[0]]]
    assert item["input_ids"].tolist() == owner.read(int(dataset._windows[0]) * 32, 32).tolist()


def test_every_window_is_read_before_any_is_read_twice(tmp_path):
    made, _ = make(tmp_path, n=8)
    windows = made.tokens // 32
    dataset = MixtureDataset(
        {"birds": made}, Mixture({"birds": 1.0}), sequences=2 * windows, context=32, seed=0
    )
    assert np.bincount(dataset._windows).tolist() == [2] * windows


def test_seed_fixes_the_order(tmp_path):
    corpora = {name: make(tmp_path, name)[0] for name in ("birds", "ships")}
    ratios = Mixture.uniform(["birds", "ships"])

    def order(seed):
        return MixtureDataset(
            corpora, ratios, sequences=30, context=32, seed=seed
        )._windows.tolist()

    assert order(3) == order(3)
    assert order(3) != order(4)


def test_text_shorter_than_a_sequence(tmp_path):
    made, _ = make(tmp_path, n=1)
    with pytest.raises(DataError, match="less than one sequence"):
        MixtureDataset({"birds": made}, Mixture({"birds": 1.0}), sequences=2, context=4096, seed=0)


def order(corpora, ratios, sequences, seed=3):
    dataset = MixtureDataset(corpora, Mixture(ratios), sequences=sequences, context=32, seed=seed)
    names = [list(ratios)[index] for index in dataset._domains]
    return list(zip(names, dataset._windows.tolist(), strict=True))


def test_a_long_run_begins_with_the_sequences_of_a_short_one(tmp_path):
    corpora = {name: make(tmp_path, name)[0] for name in ("birds", "ships")}
    ratios = {"birds": 0.7, "ships": 0.3}
    assert order(corpora, ratios, 90)[:30] == order(corpora, ratios, 30)


def test_two_mixtures_with_one_seed_read_the_same_text_of_a_domain(tmp_path):
    corpora = {name: make(tmp_path, name)[0] for name in ("birds", "ships", "sums")}

    def ships(ratios, seed=3):
        return [w for name, w in order(corpora, ratios, 40, seed) if name == "ships"]

    half = ships({"birds": 0.5, "ships": 0.5})
    assert len(half) == 20
    assert ships({"ships": 0.25, "sums": 0.75}) == half[:10]
    assert ships({"birds": 0.5, "ships": 0.5}, seed=4) != half


def test_domains_are_interleaved_evenly():
    rng = np.random.default_rng(0)
    for d in (1, 2, 5, 12):
        ratios = rng.dirichlet(np.full(d, 0.5))
        read = np.cumsum(interleave(ratios, 300)[:, None] == np.arange(d), axis=0)
        expected = np.arange(1, 301)[:, None] * ratios
        assert np.abs(read - expected).max() < 2
    assert interleave([1.0, 0.0], 3).tolist() == [0, 0, 0]
