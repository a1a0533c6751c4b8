"""What every exporter must do, and the door for one's own."""

import pytest
from exporters.test_megatron import PATHS, PROPOSAL
from hypothesis import given
from hypothesis import strategies as st

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters import FORMATS, format_ratio, largest_drift, round_ratios


@pytest.mark.parametrize("format", list(FORMATS))
def test_writes_whole_files_with_the_same_text(format, tmp_path):
    options = {"valid": ["v"], "test": ["t"]} if format == "megatron-per-split" else {}
    text = mixopt.export(PROPOSAL, format, paths=PATHS, out=tmp_path / "deep" / "out", **options)
    assert (tmp_path / "deep" / "out").read_text() == text
    assert text.endswith("\n")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("format", list(FORMATS))
def test_unknown_domain_in_paths_is_named(format):
    with pytest.raises(ExportError, match="Did you mean 'web'"):
        mixopt.export(PROPOSAL, format, paths=PATHS | {"wb": "/d"})


def test_unknown_format_is_named():
    with pytest.raises(ExportError, match="Did you mean 'megatron'"):
        mixopt.export(PROPOSAL, "megaton")


def test_pattern_needs_its_mark():
    with pytest.raises(ExportError, match=r"lacks \{domain\}"):
        mixopt.export(PROPOSAL, "megatron", paths="/data")


def shout(request):
    return " ".join(f"{name.upper()}={ratio}" for name, ratio in request.ratios.items()) + "\n"


def wrong(request):
    return dict(request.ratios)


NOTHING = 3


def test_a_format_of_one_s_own():
    text = mixopt.export(PROPOSAL, "contracts.test_exporter_contract:shout")
    assert text == "WEB=0.666667 CODE=0.333333 LAW=0.0\n"
    with pytest.raises(ExportError, match="is no function"):
        mixopt.export(PROPOSAL, "contracts.test_exporter_contract:NOTHING")
    with pytest.raises(ExportError, match="returned dict; it must return text"):
        mixopt.export(PROPOSAL, "contracts.test_exporter_contract:wrong")
    with pytest.raises(ExportError, match="cannot be loaded"):
        mixopt.export(PROPOSAL, "contracts.test_exporter_contract:none")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40).filter(lambda xs: sum(xs) > 1e-3))
def test_rounding_sums_to_exactly_one_and_drifts_little(amounts):
    ratios = mixopt.Mixture.normalised({f"d{i}": x for i, x in enumerate(amounts)})
    written = round_ratios(ratios)
    assert sum(round(value * 10**6) for value in written.values()) == 10**6
    assert largest_drift(ratios, written) < 1e-6
    assert all(float(format_ratio(value)) == value for value in written.values())
