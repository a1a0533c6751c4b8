import numpy as np
import ot
import pytest

from mixopt.baselines import transport
from mixopt.baselines.transport import TextSamples, Transport
from mixopt.errors import MissingExtraError, RunError, UserError


def make_samples(shifts, n=12, seed=0):
    """Sources around `shifts` on a line, and a target around 0, in three dimensions."""
    rng = np.random.default_rng(seed)
    sources = {
        f"d{i}": rng.normal(size=(n + i, 3)) + [shift, 0, 0] for i, shift in enumerate(shifts)
    }
    return TextSamples(sources, rng.normal(size=(20, 3)), rng.uniform(0.5, 1, 20))


@pytest.mark.parametrize("ratios", [(0.2, 0.5, 0.3), (0.0, 0.6, 0.4), (0.05, 0.9, 0.05)])
def test_the_gradient_is_that_of_finite_differences(ratios):
    p, step = np.array(ratios), 1e-4
    # at a border the slope holds in a neighborhood that is tiny where single samples are far apart
    found = Transport(make_samples((0.5, 1.0, 3.0)), 0.5 if p.min() == 0 else 0.05)
    _, gradient = found.distance(p)
    for i, j in ((0, 1), (2, 1), (0, 2)):
        along = np.zeros(3)
        along[i], along[j] = 1, -1
        if p[i] > 0:
            rise = found.distance(p + step * along)[0] - found.distance(p - step * along)[0]
            assert gradient @ along == pytest.approx(rise / (2 * step), rel=1e-4, abs=1e-7)
        else:  # on the border only one side is there
            rise = found.distance(p + 1e-6 * along)[0] - found.distance(p)[0]
            assert gradient @ along == pytest.approx(rise / 1e-6, rel=2e-3)


def test_the_distance_is_the_debiased_cost_of_pots_plans():
    samples = make_samples((0.5, 2.0))
    found, p = Transport(samples, 0.5), np.array([0.3, 0.7])
    points = np.vstack(list(samples.sources.values()))
    masses = np.concatenate([np.full(12, 0.3 / 12), np.full(13, 0.7 / 13)])
    other = samples.masses / samples.masses.sum()
    scale = ot.dist(points, samples.target).mean()

    def cost(a, x, b, y):
        plan = ot.sinkhorn(a, b, ot.dist(x, y) / scale, 0.5, stopThr=1e-12)
        entropy = (plan * np.log(plan / np.outer(a, b))).sum()
        return (plan * ot.dist(x, y) / scale).sum() + 0.5 * entropy

    expected = (
        cost(masses, points, other, samples.target)
        - 0.5 * cost(masses, points, masses, points)
        - 0.5 * cost(other, samples.target, other, samples.target)
    )
    assert found.distance(p)[0] == pytest.approx(expected, rel=1e-6)


def test_sources_are_in_the_order_of_their_overlap_with_the_target():
    found = Transport(make_samples((0.0, 1.2, 2.4, 5.0), n=40))
    corners = found.distances(np.eye(4))
    assert (np.diff(corners) > 0).all()
    slope = found.distance(np.full(4, 0.25))[1]
    assert slope.argmin() in (0, 1)
    assert slope.argmax() == 3


def test_a_source_that_is_the_target_has_no_distance():
    samples = make_samples((1.0, 2.0))
    same = TextSamples(
        {"a": samples.target, "b": samples.sources["d1"]}, samples.target, np.ones(20)
    )
    assert Transport(same).distance(np.array([1.0, 0.0]))[0] == pytest.approx(0, abs=1e-8)


def test_distances_from_each_benchmark_are_those_of_its_samples_alone():
    samples = make_samples((0.5, 2.0))
    names = ("far",) * 9 + ("near",) * 11
    target = samples.target + np.array([3.0, 0, 0]) * (np.arange(20) < 9)[:, None]
    whole = Transport(TextSamples(samples.sources, target, samples.masses, names))
    rows = np.array([[0.3, 0.7], [1.0, 0.0]])
    found = whole.by_benchmark(rows)
    assert list(found) == ["far", "near"]
    # both in the unit of the whole target: the ratio of two distances does not depend on it
    for name in found:
        chosen = np.array(names) == name
        alone = Transport(
            TextSamples(samples.sources, target[chosen], samples.masses[chosen]),
            0.05 * whole_scale(samples, target) / whole_scale(samples, target[chosen]),
        ).distances(rows)
        scale = whole_scale(samples, target[chosen]) / whole_scale(samples, target)
        assert found[name] == pytest.approx(alone * scale, rel=1e-4)
    assert (found["near"][1] < found["near"][0]).all()
    assert (found["far"][1] > found["far"][0]).all()


def whole_scale(samples, target):
    """The unit of a distance: the mean cost."""
    return ot.dist(np.vstack(list(samples.sources.values())), target).mean()


def test_what_is_asked_twice_is_computed_once(monkeypatch):
    found, p = Transport(make_samples((0.5, 1.0))), np.array([0.4, 0.6])
    first = found.distance(p)
    monkeypatch.setattr(found, "_measure", lambda _: pytest.fail("computed again"))
    assert found.distance(p.copy()) is first


def test_wrong_samples_are_told():
    rows = np.ones((9, 3))
    with pytest.raises(UserError, match="domain 'a' have 3 numbers and those of domain 'b' have 4"):
        TextSamples({"a": rows, "b": np.ones((9, 4))}, rows, np.ones(9))
    with pytest.raises(
        UserError, match="sample of domain 'b' has 7 passages and transport needs 8"
    ):
        TextSamples({"a": rows, "b": rows[:7]}, rows, np.ones(9))
    with pytest.raises(UserError, match="sample of the target has 2 passages"):
        TextSamples({"a": rows}, rows[:2], np.ones(2))


def test_transport_that_does_not_converge_is_told(monkeypatch):
    monkeypatch.setattr(transport, "ITERATIONS", 1)
    with pytest.raises(RunError, match="did not converge in 1 steps"):
        Transport(make_samples((3.0, 9.0))).distance(np.array([0.5, 0.5]))


def test_the_extra_is_asked_for(monkeypatch):
    monkeypatch.setattr("mixopt.errors.is_installed", lambda name: name != "ot")
    with pytest.raises(MissingExtraError, match=r"pip install 'mixopt\[transport\]'"):
        Transport(make_samples((0.5, 1.0)))
