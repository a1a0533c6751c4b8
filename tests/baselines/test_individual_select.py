import numpy as np
from categorical_world import DOMAINS, World, make_problem

from mixopt.baselines.individual_select import IndividualSelect


class Additive(World):
    """A merge is as bad as what it lacks of two experts that are good together and not alone."""

    def merges(self, weights):
        self.scored += len(weights)
        good = np.minimum(weights[:, 0], weights[:, 2])
        loss = 1 - good - 0.1 * weights[:, 3]
        return np.stack([loss, loss, 1 - loss], axis=1)


def test_what_gains_most_is_added_until_nothing_gains():
    world = Additive()
    problem = make_problem(world)
    found = IndividualSelect().recommend(problem)
    # books alone is best; with it nothing but both others would help, which one addition cannot see
    assert found.ratios["books"] == 1
    assert world.scored == 4 + 3
    assert found.tokens == world.tokens
    assert found.predicted["code_loss"] == 0.9


def test_experts_that_help_together_are_found_one_after_the_other():
    class World2(Additive):
        def merges(self, weights):
            self.scored += len(weights)
            loss = np.square(weights - np.array([0.5, 0, 0.5, 0])).sum(axis=1)
            return np.stack([loss, loss, 1 - loss], axis=1)

    world = World2()
    found = IndividualSelect().recommend(make_problem(world))
    assert dict(found.ratios) == dict(zip(DOMAINS, [0.5, 0, 0.5, 0], strict=True))
    assert world.scored == 4 + 3 + 2
