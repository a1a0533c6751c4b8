import zipfile

import numpy as np
import pytest
import skops.io
from example_trials import make_trials

from mixopt.errors import StorageError
from mixopt.optimization.propose import propose
from mixopt.search_space import SearchSpace
from mixopt.surrogates.fit import fit
from mixopt.surrogates.registry import SURROGATES
from mixopt.surrogates.serialization import FILE, load_surrogate, save_surrogate

ASKED = [name for name, spec in SURROGATES.items() if spec.min_trials(4) <= 40]


@pytest.fixture(scope="module")
def trials():
    return make_trials(40)


@pytest.mark.parametrize("asked", ["auto", *ASKED])
def test_what_is_kept_comes_back_to_the_last_bit(tmp_path, trials, asked):
    before = fit(trials, surrogates=asked)
    save_surrogate(before, tmp_path)
    after = load_surrogate(tmp_path, trials)
    points = np.random.default_rng(0).dirichlet(np.ones(len(trials.domains)), 50)
    for ask in ("predict", "predict_utility", "smooth_utility"):
        for old, new in zip(getattr(before, ask)(points), getattr(after, ask)(points), strict=True):
            assert (old == new).all(), ask
    assert (after.cv_utilities == before.cv_utilities).all()
    assert list(after.trials) == list(before.trials)
    assert [m.chosen for m in after.metrics] == [m.chosen for m in before.metrics]


def test_a_kept_surrogate_proposes_the_same(tmp_path, trials):
    before = fit(trials, surrogates=("ridge_root", "trees"))
    save_surrogate(before, tmp_path)
    after = load_surrogate(tmp_path, trials)
    told = [propose(one, SearchSpace(trials.domains), q=2, seed=1) for one in (before, after)]
    assert [p.to_json() for p in told[0]] == [p.to_json() for p in told[1]]


class Elsewhere:
    """Nothing of a surrogate."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Elsewhere(), "it holds .*Elsewhere"),
        (np.zeros(3), "no surrogate of mixopt"),
        ({"call": print}, "no surrogate of mixopt|it holds"),
    ],
)
def test_what_somebody_made_up_is_refused(tmp_path, trials, content, words):
    skops.io.dump(content, tmp_path / FILE)
    with pytest.raises(StorageError, match=words):
        load_surrogate(tmp_path, trials)


@pytest.mark.parametrize("name", ["mixopt.surrogates.fit.np.save", "mixopt.surrogates.fit.log",
                                  "mixopt.io.files.write_text", "os.system"])  # fmt: skip
def test_names_that_only_lead_elsewhere_are_none_of_ours(name):
    from mixopt.surrogates.serialization import _is_trusted

    assert not _is_trusted(name)
    assert _is_trusted("mixopt.surrogates.stacking.StackedModel")


def test_bytes_that_are_no_file_of_ours_are_refused(tmp_path, trials):
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(StorageError, match="remove its folder and run again"):
        load_surrogate(tmp_path, trials)


def test_a_file_that_swells_is_refused_unread(tmp_path, trials):
    with zipfile.ZipFile(tmp_path / FILE, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("schema.json", " " * 5_000_000)
    with pytest.raises(StorageError, match="unpacks to more than 100 times"):
        load_surrogate(tmp_path, trials)
