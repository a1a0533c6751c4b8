import numpy as np
import pytest
from models_for_tests import make_corpus as make

from mixopt import Mixture
from mixopt.errors import DataError
from mixopt.training.dataset import MixtureDataset


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
