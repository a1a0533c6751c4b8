import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor, train
from scipy.stats import spearmanr

from mixopt.surrogates import trees
from mixopt.surrogates.trees import BoostedTrees, RegMix


def test_is_no_constant_below_forty_runs():
    """LightGBM's own min_child_samples of 20 gives one distinct prediction at n = 30."""
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(4), 30)
    mean, _ = BoostedTrees(0).fit(ratios, ratios[:, :1] * 3, np.zeros((30, 1))).predict(ratios)
    assert len(np.unique(mean.round(6))) > 10


def test_fits_a_step_that_smooth_laws_cannot():
    rng = np.random.default_rng(0)
    ratios, fresh = rng.dirichlet(np.ones(3), 200), rng.dirichlet(np.ones(3), 200)
    step = np.where(ratios[:, :1] > 0.4, 1.0, -1.0)
    mean, _ = BoostedTrees(0).fit(ratios, step, np.zeros((200, 1))).predict(fresh)
    assert (np.sign(mean[:, 0]) == np.where(fresh[:, 0] > 0.4, 1, -1)).mean() > 0.93


@pytest.mark.parametrize(("n", "d", "bins"), [(256, 64, 255), (257, 64, 63), (30, 65, 63)])
def test_large_and_wide_tables_have_fewer_bins(monkeypatch, n, d, bins):
    seen = []

    def note(settings, *args, **kwargs):
        seen.append(settings.get("max_bin", 255))
        return train(settings, *args, **kwargs)

    monkeypatch.setattr(trees, "train", note)
    ratios = np.random.default_rng(0).dirichlet(np.full(d, 0.2), n)
    BoostedTrees(0).fit(ratios, ratios[:, :2], np.zeros((n, 2)))
    assert seen == [bins, bins]


def test_is_lightgbm_with_the_published_settings():
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(4), 60)
    scores = ratios[:, :1] ** 2 - ratios[:, 1:2]
    ours, _ = RegMix().fit(ratios, scores, np.zeros((60, 1))).predict(ratios)
    theirs = LGBMRegressor(
        boosting_type="gbdt", objective="regression", n_estimators=1000, random_state=42,
        learning_rate=1e-2, verbosity=-1, n_jobs=1,
    ).fit(ratios, scores[:, 0])  # fmt: skip
    assert ours[:, 0] == pytest.approx(theirs.predict(ratios), abs=1e-12)


def test_published_number_of_pile_cc(shared):
    """The released notebook prints 98.92 for Pile-CC at 1M, stopping early on the test runs."""

    def read(name):
        return pd.read_csv(shared / "tables/regmix" / f"{name}_1m.csv").set_index("index")

    column = "metric/the_pile_pile_cc_val_loss"
    train, losses = read("train_mixture"), read("train_pile_loss")[[column]]
    test, truth = read("test_mixture"), read("test_pile_loss")[[column]]
    losses, truth = losses.loc[train.index].to_numpy(), truth.loc[test.index].to_numpy()
    model = RegMix(validation=(test.to_numpy(), truth))
    model.fit(train.to_numpy(), losses, np.zeros(losses.shape))
    ranked, _ = spearmanr(model.predict(test.to_numpy())[0][:, 0], truth[:, 0])
    assert ranked == pytest.approx(0.9892, abs=5e-5)
