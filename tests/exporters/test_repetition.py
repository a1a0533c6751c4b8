from plans import proposal

import mixopt
from mixopt.exporters.export import make_request
from mixopt.exporters.repetition import find_most


def test_the_limit_is_raised_to_what_the_budget_needs():
    """6M tokens: 3M of each, of 1M, 2M and no known number of tokens."""
    ratios = {"web": 0.5, "code": 0.5, "law": 0.0}
    budget = mixopt.Budget(6_000_000, {"web": 1_000_000, "code": 2_000_000}, {"code": 4.0})
    request = make_request(proposal(ratios, budget=budget))
    assert [find_most(request, domain) for domain in ratios] == [3.03, 4.0, 1.0]
