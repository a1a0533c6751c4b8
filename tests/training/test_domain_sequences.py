import numpy as np
import pytest
from models_for_tests import make_corpus as make

from mixopt import Mixture
from mixopt.errors import DataError
from mixopt.training.dataset import MixtureDataset
from mixopt.training.domain_sequences import DomainSequences

NAMES = ("birds", "ships", "sums")


@pytest.fixture
def corpora(tmp_path):
    return {name: make(tmp_path, name)[0] for name in NAMES}


def open_sequences(corpora, seed=1, max_epochs=9.0):
    return DomainSequences(corpora, context=32, seed=seed, max_epochs=max_epochs)


def test_domains_are_read_in_proportion_to_shares_that_change(corpora):
    sequences, total, wanted = open_sequences(corpora), np.zeros(3), np.zeros(3)
    for step in range(20):
        shares = np.array([0.6, 0.3, 0.1]) if step < 10 else np.array([0.05, 0.05, 0.9])
        batch, domains = sequences.draw(shares, 4)
        assert batch.shape == (4, 32)
        assert domains.tolist() == sorted(domains)
        total += np.bincount(domains, minlength=3)
        wanted += 4 * shares
        assert np.abs(total - wanted).max() <= 1.5


def test_a_domain_is_read_in_the_order_of_runs(corpora):
    dataset = MixtureDataset(corpora, Mixture.uniform(NAMES), sequences=30, context=32, seed=1)
    places = np.flatnonzero(dataset._domains == 1)[:6]
    batch, domains = open_sequences(corpora).draw(np.array([0.0, 1.0, 0.0]), 6)
    assert domains.tolist() == [1] * 6
    expected = [dataset[int(place)]["input_ids"].tolist() for place in places]
    assert batch.tolist() == expected


def test_a_domain_is_read_no_more_often_than_allowed(corpora):
    sequences = open_sequences(corpora, max_epochs=2.0)
    windows = corpora["sums"].tokens // 32
    only = np.array([0.0, 0.0, 1.0])
    first, _ = sequences.draw(only, 2 * windows)
    assert sorted(first[:windows].tolist()) == sorted(first[windows:].tolist())
    with pytest.raises(DataError, match="read 'sums' more than training.max_epochs = 2 times"):
        sequences.draw(only, 1)


def test_text_shorter_than_a_sequence(corpora):
    with pytest.raises(DataError, match="'birds' has .* less than one sequence of 10000000"):
        DomainSequences(corpora, context=10**7, seed=0, max_epochs=1.0)


def test_a_state_is_restored(corpora):
    first, second = open_sequences(corpora), open_sequences(corpora)
    shares = np.array([0.5, 0.3, 0.2])
    for _ in range(5):
        first.draw(shares, 3)
    second.restore(first.state())
    assert first.draw(shares, 7)[0].tolist() == second.draw(shares, 7)[0].tolist()
