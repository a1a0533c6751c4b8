"""A small report for tests: three domains, two benchmarks, an emulator of a known formula."""

import numpy as np

from mixopt import Estimate, Metric, Mixture, Proposal
from mixopt.callbacks.base import DomainCount
from mixopt.comparison import Comparison
from mixopt.optimization.validation import Cost, Purchase, RankFidelity, Validation
from mixopt.report.data import PredictedScores, ReportData, RoundSummary
from mixopt.report.what_if import Emulator, Output, WhatIf
from mixopt.token_budget import Budget

DOMAINS = ("birds", "ships", "sums")
NATURAL = Mixture({"birds": 0.2, "ships": 0.3, "sums": 0.5})
RATIOS = Mixture({"birds": 0.5, "ships": 0.25, "sums": 0.25})
OUTPUTS = (
    Output("gain", "utility", "higher", 0, 0, 1),
    Output("birds", "capability", "higher", 2, 2, 3),
    Output("sums", "capability", "higher", 4, 4, 5),
    Output("birds_heldout", "metric", "lower", 6, 7, 8),
)


def columns_at(ratios):
    """The emulator's columns for an invented surrogate, `n x 9` at `n x 3` mixtures."""
    root = np.sqrt(ratios)
    birds, sums = root[:, 0] - np.sqrt(0.2), root[:, 2] - np.sqrt(0.5)
    loss = 3 - root[:, 0]
    zero = 0 * loss
    return np.stack([
        birds + sums, np.log(0.1 + ratios[:, 1]), birds, zero - 3, sums, zero - 2, loss,
        loss - 3 + np.sqrt(0.2), zero - 6,
    ], axis=1)  # fmt: skip


def what_if(**changes):
    rng = np.random.default_rng(0)
    nodes = np.vstack([np.eye(3), rng.dirichlet(np.ones(3), 80)])
    fields = {
        "domains": DOMAINS,
        "emulator": Emulator.fit(nodes, columns_at(nodes)),
        "outputs": OUTPUTS,
        "reference": "natural",
        "sqrt_reference": np.sqrt(NATURAL.vector(DOMAINS)),
        "starts": {"proposal": RATIOS, "natural": NATURAL},
        "feasible": rng.dirichlet(np.ones(3), 30),
        "lower": np.zeros(3),
        "upper": np.array([0.6, 1.0, 1.0]),
        "constraints": ("birds + ships at most 0.9.",),
        "error": 0.01,
        "gain_std": 0.2,
        "band_error": 0.05,
    }
    return WhatIf(**fields | changes)


def report(**changes):
    comparison = Comparison(
        "natural", NATURAL, Estimate(0.4, 0.2), Estimate(0.1, 0.2),
        {"birds_heldout": Estimate(-0.02, 0.01)}, {"choice": 0.9},
    )  # fmt: skip
    proposal = Proposal(
        RATIOS, Estimate(1, 0.1), {"birds_heldout": Estimate(2.0, 0.1)}, (comparison,),
        measured={"birds_heldout": Estimate(2.1, 0.05), "choice": Estimate(0.5, 0.1)},
        budget=Budget(90, {"birds": 27}, {"birds": 2.0}), notes=("Expert <x> was set aside",),
    )  # fmt: skip
    row = RankFidelity("overall", "merged", 0.5, (0.1, 0.8), 0.9, float("nan"), 0.5)
    validation = Validation(
        (row,), ("natural",), (0.1,), 0.2, {"merged": 0.0}, (0.1, -0.1), 2, Cost(1, 2.0, 3, 4.0),
        purchases=(Purchase("runs", 8, 0.05, 1000.0, False),),
    )  # fmt: skip
    fields = {
        "name": "toy",
        "measured_by": "the merged proxy",
        "proposals": (proposal,),
        "metrics": (Metric("birds_heldout"), Metric("choice", "higher", role="holdout")),
        "what_if": what_if(),
        "predictions": {
            "birds_heldout": PredictedScores(np.arange(8.0), np.arange(8.0) + 0.1, 0.9, "trees")
        },
        "domains": [DomainCount(name, 1000, 10, 1000, "x") for name in DOMAINS],
        "expert_scores": {
            "base": {"birds_heldout": 2.0, "choice": 0.3},
            "birds": {"birds_heldout": 1.5, "choice": 0.4},
        },
        "rounds": (RoundSummary(1, 8, 0.5, 0.4), RoundSummary(2, 12, 0.6, 0.7)),
        "validation": validation,
        "costs": {"experts": "3; 1,000 tokens"},
        "facts": {"seed": "0"},
    }
    return ReportData(**fields | changes)
