import pytest
from runs_on_simplex import table

import mixopt
from mixopt.optimization.weight_space import WeightSpace
from mixopt.report.what_if import build_what_if


@pytest.fixture(scope="session")
def runs():
    return table(24, "trained", noise=0.05)


@pytest.fixture(scope="session")
def space(runs):
    group = {"ends": mixopt.Group(domains=(runs.domains[0], runs.domains[-1]), upper=0.9)}
    return mixopt.SearchSpace(tuple(runs.domains), upper={runs.domains[0]: 0.7}, groups=group,
                              prior=mixopt.Mixture.uniform(runs.domains))  # fmt: skip


@pytest.fixture(scope="session")
def surrogate(runs):
    return mixopt.fit(runs, target="utility")


@pytest.fixture(scope="session")
def proposals(surrogate, space):
    return mixopt.propose(surrogate, space, q=1, seed=0)


@pytest.fixture(scope="session")
def fitted_what_if(surrogate, space, proposals):
    return build_what_if(surrogate, WeightSpace.of_domains(space), proposals)
