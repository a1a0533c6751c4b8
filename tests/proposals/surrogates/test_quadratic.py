import numpy as np

from mixopt.proposals.surrogates.quadratic import Quadratic


def test_recovers_a_scheffe_polynomial_exactly():
    rng = np.random.default_rng(0)
    ratios, fresh = rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(3), 20)

    def truth(r):
        return 2 * r[:, 0] - r[:, 1] + 3 * r[:, 0] * r[:, 2]

    centre, scale = truth(ratios).mean(), truth(ratios).std()
    mean, _ = Quadratic(0).fit(ratios, (truth(ratios) - centre) / scale).predict(fresh)
    assert np.allclose(mean * scale + centre, truth(fresh), atol=1e-3)
