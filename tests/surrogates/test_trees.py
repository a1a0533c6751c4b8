import numpy as np

from mixopt.surrogates.trees import BoostedTrees


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
