"""How often OLMo-core, also below Olmix, is allowed to read each domain."""

import math

from mixopt.exporters.request import ExportRequest

MARGIN = 1.01
"""Factor on the repetition that the budget needs, because OLMo-core counts whole instances."""


def find_most(request: ExportRequest, domain: str) -> float:
    """Return the repetition limit of a domain, raised to what the budget needs; 1.0 or more.

    Without the margin, a proposal at its limit would fail because its ratio is rounded.

    Args:
        request: The exported plan.
        domain: One of its domains.
    """
    need = math.ceil(100 * MARGIN * request.repetition.get(domain, 0.0)) / 100
    return float(max(1.0, need, request.max_repetition.get(domain, 1.0)))
