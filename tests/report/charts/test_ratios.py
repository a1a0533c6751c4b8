from dataclasses import replace

import pytest
from pages import NATURAL, RATIOS, report

import mixopt
from mixopt import Estimate, Mixture, Proposal
from mixopt.report.charts.ratios import MAX_DOMAINS, changes, ratios_picture
from mixopt.token_budget import Budget


def test_what_grows_most_is_first_and_what_shrinks_most_last():
    rows = changes(report().best)
    assert [row.domain for row in rows] == ["birds", "ships", "sums"]
    assert [row.direction for row in rows] == ["grows", "shrinks", "shrinks"]
    assert rows[0].difference == pytest.approx(0.3)
    assert rows[0].repetition == pytest.approx(0.5 * 90 / 27)


def test_a_cap_is_the_smaller_of_bound_and_repetition():
    best = replace(report().best, budget=Budget(100, {"birds": 25}, {"birds": 2.0}))
    rows = {row.domain: row for row in changes(best, {"birds": 0.7, "ships": 0.25, "sums": 1.0})}
    assert rows["birds"].cap == 0.5  # twice 25 of 100 tokens
    assert rows["birds"].at_cap
    assert rows["ships"].at_cap
    assert rows["sums"].cap is None  # a bound of 1 limits nothing
    picture = ratios_picture(best, {"ships": 0.25})
    assert picture.columns[-2:] == ("cap", "repetition")
    assert picture.rows[0] == (
        "birds", "20.0%", "50.0%", "+30.0 points", "50.0% (reached)", "2.00x"
    )  # fmt: skip


def drawn_rows(picture):
    (rows,) = picture.spec()["datasets"].values()
    return rows


def test_the_chart_has_ratios_in_percent_and_arrows_by_direction():
    rows = drawn_rows(ratios_picture(report().best))
    assert [row["domain"] for row in rows] == ["birds", "ships", "sums"]
    assert [row["after"] for row in rows] == pytest.approx([50, 25, 25])
    assert [row["before"] for row in rows] == pytest.approx([20, 30, 50])
    assert rows[0]["text"] == "20.0% → 50.0% 1.7x"


def test_of_many_domains_the_chart_has_those_that_move_most_and_the_table_all():
    names = [f"d{i:03d}" for i in range(300)]
    before = Mixture.uniform(names)
    after = Mixture({**before, "d007": before["d007"] + 0.001, "d123": before["d123"] - 0.001})
    first = replace(report().best.comparisons[0], ratios=before)
    picture = ratios_picture(
        replace(report().best, ratios=after, comparisons=(first,), budget=None)
    )
    rows = drawn_rows(picture)
    assert len(rows) == MAX_DOMAINS
    assert (rows[0]["domain"], rows[-1]["domain"]) == ("d007", "d123")
    assert len(picture.rows) == 300


def test_a_ratio_that_stays_has_no_direction_and_without_comparison_no_change():
    alone = Proposal(NATURAL, Estimate(0, 1), {})
    assert {row.direction for row in changes(alone)} == {"stays"}
    assert ratios_picture(alone).rows[0][1:] == ("–", "50.0%", "–")
    assert mixopt.plots.plot_ratios(alone).description == "Recommended ratios by domain"


def test_with_a_decision_ratios_are_compared_with_its_reference():
    from mixopt.decision import Decision

    decision = Decision(True, RATIOS, NATURAL, Estimate(1, 0.1), None, 4, reference="given")
    proposal = Proposal(RATIOS, Estimate(0, 1), {}, decision=decision)
    assert proposal.reference == ("given", NATURAL)
    assert changes(proposal)[0].before == NATURAL["birds"]
