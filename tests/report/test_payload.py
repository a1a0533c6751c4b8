import json
from dataclasses import replace

import numpy as np
from pages import report

from mixopt.io.display import show_directions
from mixopt.report.data import PredictedScores
from mixopt.report.findings import find
from mixopt.report.payload import MAX_METRICS, build_payload, decode


def read(data):
    return json.loads(str(build_payload(data, find(data).pictures)))


def test_the_page_has_every_picture_and_the_charts_that_it_fills():
    found = read(report())
    assert set(found["pictures"]) == set(find(report()).pictures)
    assert set(found["charts"]) == {"slices", "ternary", "front", "points"}
    assert len(found["colours"]) == 8
    assert "points" not in read(report(predictions={}))["charts"]


def test_numbers_are_the_same_to_the_last_bit():
    emulator = report().what_if.emulator
    packed = read(report())["what_if"]["emulator"]
    assert np.array_equal(decode(packed["slopes"]), emulator.slopes)
    assert packed["nodes"]["shape"] == list(emulator.nodes.shape)


def test_pairs_are_kept_for_as_many_metrics_as_the_page_can_draw():
    one = PredictedScores(np.array([1.0, np.nan]), np.array([2.0, 3.0]), 0.5, "trees")
    found = read(report(predictions={f"m{i}": one for i in range(MAX_METRICS + 9)}))["predictions"]
    assert len(found) == MAX_METRICS
    assert found["m0"] == [[2.0, 3.0], [1.0, None]]


def test_no_character_of_a_name_ends_the_script_or_turns_text():
    best = replace(report().best, notes=("</script>\u202e",))
    text = str(build_payload(report(proposals=(best,), name="\u2028"), {}))
    assert not set("<>&\u2028\u2029\u202e") & set(text)
    assert show_directions("a\u202eb\u200f") == "a[U+202E]b[U+200F]"
