import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from pages import DOMAINS, NATURAL, RATIOS, report, what_if

from mixopt import Estimate, Mixture, Proposal
from mixopt.decision import Decision, EquivalentTokens
from mixopt.proposal import Support, Ties
from mixopt.report.page import (
    _change_by_expert,
    _format_ratios,
    _gain_by_capability,
    _render_page,
    _summarize,
    write_report,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(report(), folder)
    return folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text()


def payload(html):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(text)


def test_page_is_self_contained_and_small(folder, html):
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert "default-src 'none'" in html
    # the only address is the SVG namespace, which is never opened
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {"http://www.w3.org/2000/svg"}
    assert (folder / "report.html").stat().st_size < 2_000_000
    assert sorted(p.name for p in (folder / "figures").iterdir()) == [
        "experts.png", "predicted.png", "ratios.png"
    ]  # fmt: skip


def test_page_shows_the_proposal_and_its_uncertainty(html):
    assert "50.0% birds, 25.0% ships and 25.0% sums" in html
    assert html.count("not distinguishable from the natural mixture") == 2  # summary and verdict
    assert '<span class="worse">choice</span> (90%)' in html
    assert "Expert &lt;x&gt; was set aside" in html  # escaped: names come from files
    assert "Regret of the proposal: 0.200" in html
    assert "by seed: +0.100, -0.100. Nothing here" in html
    assert "8 more real runs" in html
    assert "birds + ships at most 0.9." in html
    assert "1.667" in html  # 50% of 90 tokens, of which 27 are available


def test_page_says_if_an_earlier_proposal_was_trained(html):
    earlier = _render_page(report(validated=NATURAL))
    assert "Regret of the earlier proposal: 0.200" in earlier
    assert "before these runs corrected the surrogate" in earlier
    assert "earlier proposal" not in html


def test_same_data_same_bytes(folder, tmp_path):
    write_report(report(), tmp_path)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*.*"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


def test_the_script_has_the_coefficients_that_python_has(html):
    data = report()
    embedded = payload(html)["what_if"]
    emulator = data.what_if.emulator
    assert np.array_equal(embedded["emulator"]["weights"], emulator.weights)
    assert np.array_equal(embedded["emulator"]["nodes"], emulator.nodes)
    assert embedded["starts"]["proposal"] == [RATIOS[domain] for domain in DOMAINS]
    assert embedded["outputs"][3] == {"name": "birds_heldout", "kind": "metric", "better": "lower",
                                      "mean": 6, "change": 7, "log_ratio": 8}  # fmt: skip


def test_names_cannot_end_the_script():
    bad = "</script><script>alert(1)//"
    domains = (bad, "ships", "sums")
    ratios = Mixture(dict(zip(domains, RATIOS.values(), strict=True)))
    html = _render_page(report(
        what_if=what_if(domains=domains, starts={"proposal": ratios}),
        proposals=(Proposal(ratios, Estimate(0, 1), {}),),
        domains=(),
        validation=None,
        predictions={},
    ))  # fmt: skip
    assert bad not in html
    assert payload(html)["what_if"]["domains"][0] == bad


def test_without_experts_runs_or_text_the_page_has_no_empty_parts(html, tmp_path):
    """As for a table of runs."""
    parts = {
        "Proxy runs", "Losses of each expert", "Cost so far", "Predicted against measured",
        "Progress of the search, and benefit of more compute",
    }  # fmt: skip
    data = report(
        expert_scores={}, rounds=(), validation=None, domains=(), predictions={}, costs={}
    )
    bare = write_report(data, tmp_path).read_text()
    assert parts <= headings(html)
    assert not parts & headings(bare)
    assert "No real training run" not in bare  # the summary says not distinguishable
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {"ratios.png"}


def test_the_manual_names_every_part_of_the_page():
    manual = (Path(__file__).parents[2] / "docs" / "how-to" / "report.md").read_text()
    template = files("mixopt.report") / "templates" / "page.html.j2"
    named = re.findall(r"^\| \*\*(.*?)\*\* \|", manual, re.M)
    parts = re.findall("<h2[^>]*>(.*?)</h2>", template.read_text(encoding="utf-8"))
    assert named == parts


def headings(html):
    return set(re.findall("<h2[^>]*>(.*?)</h2>", html))


def test_gains_by_capability_are_predicted_and_measured_side_by_side():
    data = report()
    first = replace(data.best.comparisons[0], capabilities={"sums": Estimate(-0.25, 0.1)})
    data = replace(data, proposals=(replace(data.best, comparisons=(first,)),))
    gains = _gain_by_capability(data)
    assert gains["birds"].mean == pytest.approx(np.sqrt(0.5) - np.sqrt(0.2), abs=1e-3)
    square = np.square(np.sqrt(list(RATIOS.values())) - np.sqrt(list(NATURAL.values()))).sum()
    assert gains["birds"].std_error == pytest.approx(np.sqrt(np.exp(-3) * square), rel=1e-3)
    assert "-0.250 [-0.446, -0.054]" in _render_page(data)


def test_only_losses_are_changes_against_the_base():
    assert _change_by_expert(report()) == {"birds": {"birds_heldout": pytest.approx(-25.0)}}


def decided(mean=0.4, **changes):
    """A report whose merges say the opposite of its decision where `mean` is negative."""
    data = report()
    decision = Decision(
        mean > 0, RATIOS, NATURAL, Estimate(mean, 0.1), 9000, 4,
        {"birds": Estimate(mean, 0.2)}, {"birds_heldout": Estimate(-mean, 0.1)},
        equivalent_tokens=EquivalentTokens(9000, 12_000.0, 9500.0, 16_000.0),
    )  # fmt: skip
    first = replace(data.best.comparisons[0], measured_gain=Estimate(-mean, 0.1))
    ties = Ties(0.9, {"birds": (0.1, 0.8)})
    best = replace(
        data.best, ratios=decision.ratios, decision=replace(decision, **changes),
        comparisons=(first,), ties=ties, support=Support("r1-000", 0.3, 0.2),
    )  # fmt: skip
    return replace(data, proposals=(best,))


def parts(html):
    """The text of a page before its evidence, its evidence, and what follows."""
    text = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.S)
    text = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    before, evidence = text.split("Evidence from merges and the surrogate")
    return before, *evidence.split("How to reproduce")


@pytest.mark.parametrize("mean", [0.4, -0.4])
def test_beside_a_decision_nothing_else_has_a_verdict(mean):
    page = _render_page(decided(mean))
    before, evidence, after = parts(page)
    chance = "&gt; 99% likely" if mean > 0 else "&lt; 1% likely"
    assert before.count("likely to be better") == 1
    assert chance in before
    assert "9,000 tokens on" in before
    # what merges say is below, and says that it is of merges
    for word in ("merge", "measured", "distinguish", "extrapolate", "predicted"):
        assert word not in before.lower(), word
    assert f"{-mean:+.3f}" in evidence
    for word in (
        "better than the",
        "worse than the natural mixture (",
        "likely to be better",
        "gain over",
    ):
        assert word not in evidence.split("Proxy runs")[0], word
    assert evidence.count("difference of merges") >= 8
    assert (
        "90% of the feasible mixtures are not distinguishable from the proposal by their merges"
        in evidence
    )
    assert "merge" not in after
    assert payload(page)["decided"]
    assert ("The best other mixture: 50.0% birds" in before) == (mean < 0)


def test_the_gain_of_real_training_is_told_by_capability_and_benchmark():
    before, _, _ = parts(_render_page(decided(confirmation=Estimate(0.35, 0.1))))
    assert "birds +0.400 [+0.008, +0.792]" in before
    assert "birds_heldout (lower is better) -0.400 [-0.596, -0.204]" in before
    assert "it gained +0.350 [+0.154, +0.546]" in before


def test_a_page_without_a_decision_has_no_part_about_real_training(html):
    assert "Gain of real training" not in headings(html)
    assert not payload(html)["decided"]


def with_gain(mean, std, **changes):
    data = report(**changes)
    first = replace(data.best.comparisons[0], measured_gain=Estimate(mean, std))
    return replace(data, proposals=(replace(data.best, comparisons=(first,)),))


def test_summary_names_changes_gain_and_validation():
    assert _summarize(with_gain(0.5, 0.1)) == (
        "More birds, less sums and ships: better than the natural mixture (measured by the merged "
        "proxy: +0.50 sd of utility, 95% interval +0.30 to +0.70). In real training runs it gained "
        "+0.10, -0.10 (one number per seed)."
    )
    assert "No real training run" in _summarize(with_gain(0.5, 0.1, validation=None))
    assert "worse than the natural" in _summarize(with_gain(-0.5, 0.1))


def test_without_gains_by_seed_the_summary_names_no_validation():
    validation = replace(report().validation, gain=())
    assert _summarize(with_gain(0.5, 0.1, validation=validation)).endswith("+0.70).")


def test_summary_says_which_proposal_was_trained():
    assert "runs it gained" in _summarize(with_gain(0.5, 0.1, validated=RATIOS))
    summary = _summarize(with_gain(0.5, 0.1, validated=NATURAL))
    assert "the earlier proposal, from before they corrected the surrogate, gained" in summary


def test_an_interval_around_zero_is_not_distinguishable():
    assert "is not distinguishable from the natural mixture" in _summarize(with_gain(0.1, 0.1))


def test_a_proposal_equal_to_the_natural_mixture_keeps_it():
    assert _summarize(with_gain(0.0, 0.0)).startswith("Keep the natural mixture")


def test_a_proposal_without_comparison():
    alone = Proposal(NATURAL, Estimate(0, 1), {})
    assert _summarize(report(proposals=(alone,))) == (
        "Train on 50.0% sums, 30.0% ships and 20.0% birds. It was not compared with another mixture."
    )


def test_a_decision_for_a_table_is_the_summary_and_shows_what_was_not_chosen():
    stays = Decision(
        False, RATIOS, NATURAL, Estimate(0.1, 0.2), None, 24, level="1B", proxies="40 1M runs",
        advice="If the gain is +0.100, about 9 new runs would tell.",
    )  # fmt: skip
    data = report()
    best = replace(data.best, ratios=NATURAL, decision=stays, measured=None)
    page = _render_page(replace(data, proposals=(best,)))
    assert (
        "Stay with the natural mixture: the best other one is 69% likely to be better (expected gain "
        "+0.10 sd of utility at 1B, 95% interval -0.29 to +0.49; from 40 1M runs and 24 trained "
        "runs). If the gain is +0.100, about 9 new runs would tell."
    ) in page
    assert "The best other mixture: 50.0% birds" in page
    assert "Predictions of the surrogate" in page
    assert "differences of merges" not in page


def test_domains_without_a_share_are_not_named():
    assert _format_ratios(Mixture({"a": 1.0, "b": 0.0})) == "100.0% a"
