import numpy as np

from mixopt.proposals.surrogates.gaussian_process import GaussianProcess


def test_follows_a_square_root_near_zero():
    """The first percent of a domain teaches more than the fiftieth."""
    share = np.concatenate([np.linspace(0, 0.1, 12), np.linspace(0.15, 1, 12)])
    ratios = np.stack([share, 1 - share], axis=1)
    scores = np.sqrt(share)
    model = GaussianProcess(0).fit(ratios, (scores - scores.mean()) / scores.std())
    mean, _ = model.predict(np.array([[0.0, 1.0], [0.04, 0.96], [0.5, 0.5], [0.54, 0.46]]))
    assert mean[1] - mean[0] > 3 * (mean[3] - mean[2])


def test_is_less_sure_far_from_the_runs():
    share = np.linspace(0, 0.3, 12)
    ratios = np.stack([share, 1 - share], axis=1)
    scores = np.sin(12 * share)
    _, std = (
        GaussianProcess(0)
        .fit(ratios, (scores - scores.mean()) / scores.std())
        .predict(np.array([[0.15, 0.85], [0.9, 0.1]]))
    )
    assert std[1] > 2 * std[0]
