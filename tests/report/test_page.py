import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from pages import DOMAINS, NATURAL, RATIOS, columns_at, report, what_if

from mixopt import Estimate, Metric, Mixture, Proposal
from mixopt.callbacks.base import StudyWarning
from mixopt.comparison import Support, Ties
from mixopt.decision import Decision, EquivalentTokens, MergeCheck
from mixopt.evidence import PairedNoise
from mixopt.report.data import PredictedScores
from mixopt.report.findings import find
from mixopt.report.page import _render_page, write_report
from mixopt.report.payload import decode


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
    own = re.sub(r'<script id="library">.*?</script>', "", html, flags=re.S)
    assert not re.search(r"""(src|href)=["'](?!data:)""", own)
    assert "default-src 'none'" in html  # what the library could ask for is forbidden
    # the only addresses are names of schemas, which are never opened
    opened = set(re.findall(r"https?://[^\s\"']+", own))
    assert all("vega.github.io/schema" in address for address in opened), opened
    assert (folder / "report.html").stat().st_size < 2_000_000
    assert sorted(p.name for p in (folder / "figures").iterdir()) == [
        "benchmarks.png", "experts.png", "gains.png", "predicted.png", "ratios.png"
    ]  # fmt: skip


def test_page_shows_the_proposal_and_its_uncertainty(html):
    assert "50.0% birds, 25.0% ships and 25.0% sums" in html
    assert html.count("not distinguishable from the natural mixture") == 2  # summary and verdict
    assert '<span class="worse">choice</span> (90%)' in html
    assert "1 of 1 benchmarks probably get worse" in html
    assert "Expert &lt;x&gt; was set aside" in html  # escaped: names come from files
    assert "Regret of the proposal: 0.200" in html
    assert "by seed: +0.100, -0.100. Nothing here" in html
    assert "8 more real runs" in html
    assert "birds + ships at most 0.9." in html
    assert "<td>1.67x</td>" in html  # 50% of 90 tokens, of which 27 are available


def test_page_says_if_an_earlier_proposal_was_trained(html):
    earlier = _render_page(report(validated=NATURAL))
    assert "Regret of the earlier proposal: 0.200" in earlier
    assert "before these runs corrected the surrogate" in earlier
    assert "earlier proposal" not in html


def test_same_data_same_bytes(folder, tmp_path):
    write_report(report(), tmp_path)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*.*"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


def test_the_script_has_the_coefficients_that_python_has(html):
    data = report()
    embedded = payload(html)["what_if"]
    emulator = data.what_if.emulator
    for name in ("nodes", "weights", "slopes", "offsets"):
        assert np.array_equal(decode(embedded["emulator"][name]), getattr(emulator, name)), name
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
        "Proxy runs", "Losses of each expert", "Costs, and what more would buy",
        "How well the surrogate predicts", "Progress of the search", "Benefit of more compute",
    }  # fmt: skip
    data = report(
        expert_scores={}, rounds=(), validation=None, domains=(), predictions={}, costs={}
    )
    write_report(report(), tmp_path)  # an earlier report, with pictures that this one has not
    (tmp_path / "figures" / "mine.png").write_bytes(b"")
    bare = write_report(data, tmp_path).read_text()
    assert parts <= headings(html)
    assert not parts & headings(bare)
    assert "No real training run" not in bare  # the summary says not distinguishable
    names = {p.name for p in (tmp_path / "figures").iterdir()}
    assert names == {"benchmarks.png", "gains.png", "mine.png", "ratios.png"}


def test_the_manual_names_every_part_of_the_page():
    manual = (Path(__file__).parents[2] / "docs" / "how-to" / "report.md").read_text()
    template = files("mixopt.report") / "templates" / "page.html.j2"
    named = re.findall(r"^\| \*\*(.*?)\*\* \|", manual, re.M)
    parts = re.findall("<h2[^>]*>(.*?)</h2>", template.read_text(encoding="utf-8"))
    # a study's evidence has a longer name
    assert named == ["Evidence" if "Evidence" in part else part for part in parts]


def headings(html):
    return set(re.findall("<h[23][^>]*>(.*?)</h[23]>", html))


def test_gains_by_capability_are_predicted_and_measured_side_by_side():
    data = report()
    first = replace(data.best.comparisons[0], capabilities={"sums": Estimate(-0.25, 0.1)})
    data = replace(data, proposals=(replace(data.best, comparisons=(first,)),))
    assert "-0.250 [-0.446, -0.054]" in _render_page(data)


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
    return replace(data, proposals=(best,), learned_from="ensembles")


def parts(html):
    """The text of a page before its evidence, its evidence, and what follows."""
    text = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.S)
    text = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    before, evidence = text.split("Evidence from merges and the surrogate")
    return before, *evidence.split("How to reproduce")


def test_noise_of_training_and_resampled_items_are_evidence():
    known = {"noise": PairedNoise(0.12, 3), "resampled": {"birds": (0.52, 0.71)}}
    before, evidence, _ = parts(_render_page(decided(0.4, **known)))
    for words in ("has a noise of 0.120 sd of a benchmark", "birds between 52% and 71%"):
        assert words in evidence
        assert words not in before


@pytest.mark.parametrize("mean", [0.4, -0.4])
def test_beside_a_decision_nothing_else_has_a_verdict(mean):
    page = _render_page(decided(mean))
    before, evidence, after = parts(page)
    chance = "&gt; 99% likely" if mean > 0 else "&lt; 1% likely"
    assert before.count("likely to be better") == 1
    assert chance in before
    assert "9,000 tokens on" in before
    # what merges say is below, and says that it is of merges
    before = before.split("data mixture for toy", 1)[-1]
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
    assert (
        "90% of the feasible mixtures are not distinguishable from the proposal by the surrogate of "
        "ensembles"
    ) in evidence
    assert "merge" not in after
    assert payload(page)["decided"]
    assert ("The best other mixture: 50.0% birds" in before) == (mean < 0)


def test_the_gain_of_real_training_is_told_by_capability_and_benchmark():
    page = _render_page(decided(confirmation=Estimate(0.35, 0.1), confirmed_tokens=8192))
    before, evidence, _ = parts(page)
    assert "birds +0.400 +0.008 to +0.792 98%" in before
    # a loss of 0.4 less: better, in % of the score at natural
    score = columns_at(NATURAL.vector(DOMAINS)[None])[0, 6]
    assert f"birds_heldout +{40 / score:.1f}%" in before
    assert (
        "Unused seeds of this mixture, which was the best before these runs: gain +0.350 at 8,192 "
        "tokens, 95% interval [+0.154, +0.546]. The decision counts the unused seeds."
    ) in evidence
    assert "unused seeds, 8,192 tokens" in evidence
    assert "expected before them" not in evidence
    known = decided(
        confirmation=Estimate(0.35, 0.1), confirmed_tokens=8192, expected_before=Estimate(0.2, 0.1)
    )
    assert "expected before them, 8,192 tokens" in parts(_render_page(known))[1]


def test_where_natural_is_kept_everything_says_that_it_is_of_the_best_other_mixture():
    merges = MergeCheck(Estimate(0.3, 0.1), 1, 4)
    known = decided(-0.4, confirmation=Estimate(-0.35, 0.1), merges=merges)
    before, evidence, _ = parts(_render_page(known))
    assert "With the best other mixture, 1 of 1 benchmarks probably get worse than with" in before
    assert "Unused seeds of the best other mixture, which was the best before these" in evidence
    assert "Merges of the experts for the best other mixture: gain +0.300 at the" in evidence
    better = replace(known.best.decision, differences={"birds_heldout": Estimate(-0.4, 0.1)})
    page = _render_page(replace(known, proposals=(replace(known.best, decision=better),)))
    assert "With the best other mixture, no benchmark is expected to get worse" in parts(page)[0]
    # limits forbid natural: runs and merges are compared with it nevertheless
    nearest = replace(known.best.decision, reference="nearest allowed")
    page = _render_page(replace(known, proposals=(replace(known.best, decision=nearest),)))
    assert "Over the natural mixture: merges of the experts for the best other" in parts(page)[1]
    assert "With the best other" not in parts(_render_page(decided(0.4)))[0]


def test_without_another_candidate_the_page_speaks_of_none():
    alone = decided(-0.4, candidate=NATURAL, differences={"birds_heldout": Estimate(0.0, 0.0)})
    before, evidence, _ = parts(_render_page(alone))
    assert "there is no other candidate" in before
    for said in ("best other", "Gain by capability", "What gets worse", "tokens on"):
        assert said not in before, said
    assert "best other" not in evidence


def test_groups_are_of_the_mixture_under_the_arrows():
    domains = ("web:q1", "web:q2", "code")
    kept, other = (Mixture(dict(zip(domains, row, strict=True)))
                   for row in ((0.2, 0.3, 0.5), (0.5, 0.25, 0.25)))  # fmt: skip
    stays = Decision(False, other, kept, Estimate(0.1, 0.2), None, 4)
    best = replace(report().best, ratios=kept, decision=stays, comparisons=(), budget=None)
    starts = {"proposal": kept, "best other": other}
    data = report(what_if=what_if(domains=domains, starts=starts), proposals=(best,), domains=())
    page = _render_page(data)
    assert '<th scope="col">best other</th><th scope="col">shares inside the group' in page
    assert '<th scope="row">web</th><td>50.0%</td><td>75.0%</td>' in page


@pytest.mark.parametrize(("learned", "word"), [("ensembles", "candidate"), ("runs", "run")])
def test_the_nearest_run_is_a_run_where_runs_were_fitted(learned, word):
    _, evidence, _ = parts(_render_page(replace(decided(), learned_from=learned)))
    assert f"The nearest {word} is r1-000, at a Hellinger distance" in evidence
    assert f"{word.capitalize()}s are usually within 0.200 of another {word}." in evidence


def test_what_a_picture_or_a_sentence_leaves_out_is_counted():
    names = [f"m{i}" for i in range(30)]
    many = {name: Estimate(0.1, 0.1) for name in names}
    first = replace(
        decided().best.comparisons[0], worse=dict.fromkeys(names, 0.9), capabilities=many
    )
    data = decided(capabilities=many)
    scores = PredictedScores(np.arange(300.0), np.arange(300.0), 0.9, "trees")
    data = replace(data, proposals=(replace(data.best, comparisons=(first,)),),
                   predictions=dict.fromkeys(names * 3, scores) | {
                       f"n{i}": scores for i in range(60)})  # fmt: skip
    before, evidence, _ = parts(_render_page(data))
    assert "the interval excludes zero. The 24 first; the table has all." in before
    assert "m11 (90%) and 18 more." in evidence
    assert "The 24 first; the table has all." in evidence  # merges
    assert "The first 250 of 300 trials. The first 80 of 90 metrics." in evidence
    few, evidence, _ = parts(_render_page(decided()))
    assert "the table has all" not in few + evidence
    assert "The first" not in evidence


@pytest.mark.parametrize("learned", ["ensembles", "merges", "runs"])
def test_predictions_are_of_what_the_surrogate_learned_from(learned):
    data = replace(decided(), learned_from=learned)
    page = _render_page(data)
    _, evidence, _ = parts(page)
    for phrase in (
        f"predicted difference of {learned}",
        f"How well the surrogate predicts {learned}",
        f"Predicted difference of {learned} from natural",
        f"Predicted scores of {learned}.",
        f"The surrogate predicts scores of {learned} here",
        f"Predicted: the surrogate of {learned}.",
    ):
        assert phrase in evidence, phrase
    # what was measured is of merges whatever the surrogate learned from
    assert "Measured differences come from merging" in evidence
    assert "measured difference of merges" in evidence
    assert "Difference of merges from natural by capability" in evidence
    if learned != "merges":
        assert not re.search("(redicted|predicts)( scores| difference)?( of)? merges", evidence)
    found = payload(page)
    assert found["learned_from"] == learned
    tooltips = json.dumps(found["charts"]["slices"])
    assert f"difference of {learned}" in tooltips
    # the script's own sentences, of the sliders, take the word from the page
    script = (files("mixopt.report") / "templates" / "page.js").read_text(encoding="utf-8")
    assert "merge" not in script


def test_validation_runs_are_as_long_as_runs():
    _, evidence, _ = parts(_render_page(decided()))
    assert "1 mixture was really trained, for training.tokens tokens, with 2 seeds each" in evidence
    validation = replace(report().validation, mixtures=("natural", "a"), utilities=(0.1, 0.2))
    _, evidence, _ = parts(_render_page(replace(decided(), validation=validation)))
    assert "2 mixtures were really trained" in evidence
    assert "as an expert" not in evidence


def test_a_page_without_a_decision_is_about_merges(html):
    assert "Measured on merges" in html
    assert not payload(html)["decided"]


def test_warnings_are_grouped_by_what_they_change_and_folded_where_that_is_nothing():
    warnings = [StudyWarning("told apart by noise; it counts less", "nothing"),
                StudyWarning("items are in the text; drop them", "scores")]  # fmt: skip
    page = _render_page(report(warnings=warnings))
    groups = re.findall(r'<details class="warnings"( open)?><summary>(.*?) \((\d)\)', page)
    assert groups == [
        (" open", "These may change what to train on", "1"),  # the note of the proposal
        (" open", "These change scores, or how much they count", "1"),
        ("", "These change nothing: the study has dealt with them", "1"),
    ]


def test_marks_of_direction_are_shown_and_turn_no_sentence_around():
    turned = "\u202eturned"
    domains = (turned, "ships", "sums")
    ratios = Mixture(dict(zip(domains, RATIOS.values(), strict=True)))
    html = _render_page(report(
        what_if=what_if(domains=domains, starts={"proposal": ratios}),
        proposals=(Proposal(ratios, Estimate(0, 1), {}),),
        domains=(), validation=None, predictions={},
    ))  # fmt: skip
    assert "\u202e" not in re.sub(r'<script id="library">.*?</script>', "", html, flags=re.S)
    assert "50.0% [U+202E]turned" in html
    assert payload(html)["what_if"]["domains"][0] == "[U+202E]turned"


def test_every_picture_has_a_table_and_says_what_it_shows(html):
    for name in find(report()).pictures:
        (figure,) = re.findall(rf'<figure id="{name}">.*?</figure>', html, re.S)
        assert "<tbody>" in figure
        assert re.search('role="img" aria-label=".+"', figure)
        assert re.search("<figcaption>.+</figcaption>", figure)


def test_long_tables_can_be_searched():
    changes = {f"m{i}": Estimate(-0.1, 0.1) for i in range(64)}
    scores = {name: Estimate(2.0, 0.1) for name in changes}
    first = replace(report().best.comparisons[0], differences=changes)
    metrics = tuple(Metric(name) for name in changes)
    best = replace(report().best, comparisons=(first,), measured=scores, predicted=scores)
    page = _render_page(report(proposals=(best,), metrics=metrics, expert_scores={}))
    assert 'aria-label="Search Change of each benchmark, the worst first"' in page
    assert "Search" not in _render_page(report()).split("Try it")[0]


def test_a_decision_for_a_table_is_the_summary_and_shows_what_was_not_chosen():
    stays = Decision(
        False, RATIOS, NATURAL, Estimate(0.1, 0.2), None, 24, level="1B", proxies="40 1M runs",
        advice="If the gain is +0.100, about 9 new runs are needed to decide.",
    )  # fmt: skip
    data = report()
    best = replace(data.best, ratios=NATURAL, decision=stays, measured=None)
    page = _render_page(replace(data, proposals=(best,)))
    assert (
        "Stay with the natural mixture: the best other one is 69% likely to be better (expected gain "
        "+0.10 sd of a benchmark at 1B, 95% interval -0.29 to +0.49; from 40 1M runs and 24 1B "
        "runs). If the gain is +0.100, about 9 new runs are needed to decide."
    ) in page
    assert "The best other mixture: 50.0% birds" in page
    # the arrows are those of the mixture that was not chosen
    assert "from natural to the best other mixture" in page
    assert "+30.0 points" in page
    assert "differences of merges" not in page
