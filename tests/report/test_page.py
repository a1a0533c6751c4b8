import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pages import DOMAINS, NATURAL, RATIOS, report, what_if

from mixopt import Estimate, Mixture, Proposal
from mixopt.report.page import change_by_expert, gain_by_capability, write_report


def payload(html):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(text)


def test_page_is_self_contained_and_small(tmp_path):
    page = write_report(report(), tmp_path)
    html = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert "default-src 'none'" in html
    # the only address is the name of SVG, which is never opened
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {"http://www.w3.org/2000/svg"}
    assert page.stat().st_size < 2_000_000
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "experts.png", "predicted.png", "ratios.png"
    ]  # fmt: skip


def test_page_says_the_answer_and_how_sure(tmp_path):
    html = write_report(report(), tmp_path).read_text()
    assert "50.0% birds, 25.0% ships and 25.0% sums" in html
    assert "not distinguishable from the natural mixture" in html
    assert "makes no difference that we can tell" in html
    assert '<span class="worse">choice</span> (90.0%)' in html
    assert "Expert &lt;x&gt; was set aside" in html  # escaped: names come from files
    assert "Regret of the proposal: 0.200" in html
    assert "8 more real runs" in html
    assert "birds + ships at most 0.9." in html
    assert "1.667" in html  # 50% of 90 tokens, of which there are 27


def test_same_data_same_bytes(tmp_path):
    first = write_report(report(), tmp_path / "a").read_bytes()
    assert first == write_report(report(), tmp_path / "b").read_bytes()


def test_the_script_is_given_the_formula_that_python_has(tmp_path):
    data = report()
    told = payload(write_report(data, tmp_path).read_text())["what_if"]
    emulator = data.what_if.emulator
    assert np.array_equal(told["emulator"]["weights"], emulator.weights)
    assert np.array_equal(told["emulator"]["nodes"], emulator.nodes)
    assert told["starts"]["proposal"] == [RATIOS[domain] for domain in DOMAINS]
    assert told["answers"][3] == {"name": "birds_heldout", "kind": "metric", "better": "lower",
                                  "mean": 6, "change": 7, "spread": 8}  # fmt: skip


def test_names_cannot_end_the_script(tmp_path):
    bad = "</script><script>alert(1)//"
    domains = (bad, "ships", "sums")
    ratios = Mixture(dict(zip(domains, RATIOS.values(), strict=True)))
    data = report(
        what_if=what_if(domains=domains, starts={"proposal": ratios}),
        proposals=(Proposal(ratios, Estimate(0, 1), {}),),
        domains=(),
        validation=None,
        trials=(),
        points={},
    )
    html = write_report(data, tmp_path).read_text()
    assert bad not in html
    assert payload(html)["what_if"]["domains"][0] == bad


def test_without_experts_runs_or_text_the_page_has_no_empty_parts(tmp_path):
    """A table of runs: nothing was merged."""
    data = report(expert_scores={}, rounds=(), validation=None, domains=(), points={}, costs={})
    html = write_report(data, tmp_path).read_text()
    for heading in ("Proxy runs", "What each expert", "Cost so far", "Predicted against"):
        assert f"<h2>{heading}" not in html
    assert "no real run has checked it" not in html  # it makes no difference anyhow
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {"ratios.png"}


def test_gains_by_capability_are_predicted_and_measured_side_by_side(tmp_path):
    data = report()
    first = replace(data.best.comparisons[0], capabilities={"sums": Estimate(-0.25, 0.1)})
    data = replace(data, proposals=(replace(data.best, comparisons=(first,)),))
    gains = gain_by_capability(data)
    assert gains["birds"].mean == pytest.approx(np.sqrt(0.5) - np.sqrt(0.2), abs=1e-3)
    square = np.square(np.sqrt(list(RATIOS.values())) - np.sqrt(list(NATURAL.values()))).sum()
    assert gains["birds"].std_error == pytest.approx(np.sqrt(np.exp(-3) * square), rel=1e-3)
    html = write_report(data, tmp_path).read_text()
    assert "-0.250 [-0.446, -0.054]" in html


def test_losses_alone_are_changes_against_the_base():
    assert change_by_expert(report()) == {"birds": {"birds_heldout": pytest.approx(-25.0)}}
