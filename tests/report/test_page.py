import re

import numpy as np
import pytest
import toy

from mixopt import Estimate, Metric, Mixture, Proposal
from mixopt.budget import Budget
from mixopt.loading import load_study
from mixopt.proposal import Comparison
from mixopt.report.page import ReportData, write_report
from mixopt.trials import DomainCount
from mixopt.validation import Cost, RankFidelity, Validation

DOMAINS = ("birds", "ships", "sums")


@pytest.fixture
def data(tmp_path):
    natural = Mixture({"birds": 0.2, "ships": 0.3, "sums": 0.5})
    comparison = Comparison(
        "natural",
        natural,
        Estimate(0.4, 0.2),
        Estimate(0.1, 0.2),
        {"birds_heldout": Estimate(-0.02, 0.01)},
    )
    proposal = Proposal(
        Mixture({"birds": 0.5, "ships": 0.25, "sums": 0.25}), Estimate(1, 0.1),
        {"birds_heldout": Estimate(2.0, 0.1)}, (comparison,),
        measured={"birds_heldout": Estimate(2.1, 0.05), "choice": Estimate(0.5, 0.1)},
        budget=Budget(90, {"birds": 27}), notes=("Expert <x> was set aside",),
    )  # fmt: skip
    row = RankFidelity("overall", "merged", 0.5, (0.1, 0.8), 0.9, float("nan"), 0.5)
    points = {"birds_heldout": (np.arange(8.0), np.arange(8.0) + 0.1, "trees")}
    return ReportData(
        recipe=load_study(toy.write_study(tmp_path / "study")),
        domains=[DomainCount(name, 1000, 10, 1000, "x") for name in DOMAINS],
        natural=natural,
        metrics=(Metric("birds_heldout"), Metric("choice", "higher", role="holdout")),
        proposals=(proposal,),
        points=points,
        expert_scores={
            "base": {"birds_heldout": 2.0, "choice": 0.3},
            "birds": {"birds_heldout": 1.5, "choice": 0.4},
        },
        validation=Validation((row,), ("natural",), (0.1,), 0.2, {"merged": 0.0}, (0.1, -0.1), 2,
                              Cost(1, 2.0, 3, 4.0)),
    )  # fmt: skip


def test_page_is_self_contained_and_small(data, tmp_path):
    page = write_report(data, tmp_path)
    html = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert "http" not in html.replace("http-equiv", "")
    assert page.stat().st_size < 2_000_000
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "experts.png", "predicted.png", "ratios.png"
    ]  # fmt: skip


def test_page_says_the_answer_and_how_sure(data, tmp_path):
    html = write_report(data, tmp_path).read_text()
    assert "50.0% birds" in html
    assert "not distinguishable from the natural mixture" in html
    assert "holdout" in html
    assert "Expert &lt;x&gt; was set aside" in html  # escaped: names come from files
    assert "Regret of the proposal: 0.200" in html


def test_same_data_same_bytes(data, tmp_path):
    first = write_report(data, tmp_path / "a").read_bytes()
    assert first == write_report(data, tmp_path / "b").read_bytes()
