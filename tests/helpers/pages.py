"""A report's data, small enough to be read: three domains, two benchmarks, an emulator of a formula."""

import numpy as np
import toy

from mixopt import Estimate, Metric, Mixture, Proposal
from mixopt.config.loader import load_study
from mixopt.mixture import Budget
from mixopt.proposal import Comparison
from mixopt.report.data import Answer, Points, ReportData, Round, WhatIf
from mixopt.report.emulator import Emulator
from mixopt.trials import DomainCount
from mixopt.validation import Cost, Purchase, RankFidelity, Validation

DOMAINS = ("birds", "ships", "sums")
NATURAL = Mixture({"birds": 0.2, "ships": 0.3, "sums": 0.5})
RATIOS = Mixture({"birds": 0.5, "ships": 0.25, "sums": 0.25})
ANSWERS = (
    Answer("gain", "utility", "higher", 0, 0, 1),
    Answer("birds", "capability", "higher", 2, 2, 3),
    Answer("sums", "capability", "higher", 4, 4, 5),
    Answer("birds_heldout", "metric", "lower", 6, 7, 8),
)


def answers_at(ratios):
    """Gains and spreads of a made-up surrogate at `n x 3` mixtures."""
    root = np.sqrt(ratios)
    birds, sums = root[:, 0] - np.sqrt(0.2), root[:, 2] - np.sqrt(0.5)
    loss = 3 - root[:, 0]
    even = 0 * loss
    return np.stack([
        birds + sums, np.log(0.1 + ratios[:, 1]), birds, even - 3, sums, even - 2, loss,
        loss - 3 + np.sqrt(0.2), even - 6,
    ], axis=1)  # fmt: skip


def what_if(**changes):
    rng = np.random.default_rng(0)
    nodes = np.vstack([np.eye(3), rng.dirichlet(np.ones(3), 80)])
    told = {
        "domains": DOMAINS,
        "emulator": Emulator.through(nodes, answers_at(nodes)),
        "answers": ANSWERS,
        "reference": "natural",
        "anchor": np.sqrt(NATURAL.vector(DOMAINS)),
        "starts": {"proposal": RATIOS, "natural": NATURAL},
        "feasible": rng.dirichlet(np.ones(3), 30),
        "lower": np.zeros(3),
        "upper": np.array([0.6, 1.0, 1.0]),
        "rules": ("birds + ships at most 0.9.",),
        "miss": 0.01,
        "spread": 0.2,
        "band_miss": 0.05,
    }
    return WhatIf(**told | changes)


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
    told = {
        "name": "toy",
        "measured_by": "the merged proxy",
        "proposals": (proposal,),
        "metrics": (Metric("birds_heldout"), Metric("choice", "higher", role="holdout")),
        "what_if": what_if(),
        "trials": [(NATURAL, 0.0), (RATIOS, float("nan"))],
        "points": {"birds_heldout": Points(np.arange(8.0), np.arange(8.0) + 0.1, 0.9, "trees")},
        "domains": [DomainCount(name, 1000, 10, 1000, "x") for name in DOMAINS],
        "expert_scores": {
            "base": {"birds_heldout": 2.0, "choice": 0.3},
            "birds": {"birds_heldout": 1.5, "choice": 0.4},
        },
        "rounds": (Round(1, 8, 0.5, 0.4), Round(2, 12, 0.6, 0.7)),
        "validation": validation,
        "costs": {"experts": "3; 1,000 tokens"},
        "facts": {"seed": "0"},
    }
    return ReportData(**told | changes)


def load(folder):
    return load_study(toy.write_study(folder))
