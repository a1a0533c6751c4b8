import numpy as np

from mixopt.surrogates.quadratic import ScheffeQuadratic


def test_recovers_a_scheffe_polynomial():
    rng = np.random.default_rng(0)
    ratios, fresh = rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(3), 20)

    def truth(r):
        return 2 * r[:, 0] - r[:, 1] + 3 * r[:, 0] * r[:, 2]

    centre, scale = truth(ratios).mean(), truth(ratios).std()
    z = ((truth(ratios) - centre) / scale)[:, None]
    mean, _ = ScheffeQuadratic().fit(ratios, z, np.zeros(z.shape)).predict(fresh)
    assert np.allclose(mean[:, 0] * scale + centre, truth(fresh), atol=0.02)


def test_terms_are_ratios_and_their_products():
    terms = ScheffeQuadratic().terms(np.array([[0.5, 0.3, 0.2]]))
    assert np.allclose(terms, [[0.5, 0.3, 0.2, 0.15, 0.1, 0.06]])
