"""A proposal and a schedule to export: three domains, one of them without a share."""

from mixopt import Estimate, Mixture, Proposal
from mixopt.schedule import Phase, Schedule
from mixopt.token_budget import Budget

LENGTHS = {"web": 100.0, "code": 200.0, "law": 50.0}
AVAILABLE = {"web": 10_000_000, "code": 2_000_000, "law": 1_000_000}
CAPS = {"web": 4.0, "code": 4.0, "law": 4.0}
PATHS = {"web": "/d/web_text_document", "code": "/d/code_text_document", "law": "/d/law"}


def proposal(ratios, tokens=6_000_000, **changes):
    told = {"budget": Budget(tokens, AVAILABLE, CAPS), "tokens_per_document": LENGTHS} | changes
    return Proposal(Mixture(ratios), Estimate(0, 0), {"loss": Estimate(1, 0.1)}, **told)


PROPOSAL = proposal({"web": 2 / 3, "code": 1 / 3, "law": 0.0})
BARE = Proposal(Mixture({"web": 0.5, "code": 0.5}), Estimate(0, 0), {})
SCHEDULE = Schedule(
    (
        Phase("stable", proposal({"web": 0.75, "code": 0.25, "law": 0.0}, 4_096_000)),
        Phase("anneal", proposal({"web": 0.25, "code": 0.5, "law": 0.25}, 1_024_000)),
    ),
    CAPS,
)
OPTIONS = {
    "megatron-per-split": {"valid": ["v"], "test": ["t"]},
    "levanter": {"batch_sequences": 8, "context": 128, "mixture_block_size": 16_000},
    "nanotron": {"batch_tokens": 1024},
}
"""What some formats cannot do without."""


_written: list[int] = []


def write_count(request) -> str:
    """A format of somebody's own, which says how often it was asked."""
    _written.append(1)
    return str(len(_written))
