import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from scipy.stats import spearmanr

from mixopt.surrogates.regmix import RegMix


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
