from dataclasses import replace

import pytest
import yaml
from plans import PROPOSAL, proposal

import mixopt
from mixopt.errors import ExportError


def test_topics_are_shares_of_their_source():
    """Olmix multiplies weights along the path; its own mix_heavy_code.yaml has this shape."""
    ratios = {"dclm:code": 0.5, "dclm:science": 0.3, "wikipedia": 0.2}
    budget = mixopt.Budget(10, {}, {"dclm:code": 2.0, "wikipedia": 1.5})
    plain = yaml.safe_load(mixopt.export(proposal(ratios, budget=budget), "olmix"))
    assert plain == {"mix": {
        "dclm": {
            "weight": 0.8,
            "code": {"weight": 0.625, "repetition_factor": 2.0},
            "science": {"weight": pytest.approx(0.375), "repetition_factor": 1.0},
        },
        "wikipedia": {"weight": 0.2, "repetition_factor": 1.5},
    }}  # fmt: skip


def test_sources_alone_keep_their_zero():
    plain = yaml.safe_load(mixopt.export(PROPOSAL, "olmix"))
    assert plain["mix"]["law"] == {"weight": 0.0, "repetition_factor": 4.0}


def test_a_factor_is_written_without_a_limit_and_with_room_for_rounding():
    """olmix takes no entry without a factor, and OLMo-core no run that reads a token more."""
    free = mixopt.Budget(6_000_000, {"code": 2_000_000, "web": 1_000_000})
    plan = proposal({"web": 0.5, "code": 0.5, "law": 0.0}, budget=free)
    mix = yaml.safe_load(mixopt.export(plan, "olmix"))["mix"]
    factors = {name: entry["repetition_factor"] for name, entry in mix.items()}
    assert factors == {"web": 3.03, "code": 1.52, "law": 1.0}
    capped = replace(plan, budget=replace(free, max_repetition={"web": 3.0}))
    entry = yaml.safe_load(mixopt.export(capped, "olmix"))["mix"]["web"]
    assert entry["repetition_factor"] == 3.03


def test_a_source_that_is_a_domain_too():
    ratios = {"dclm": 0.5, "dclm:code": 0.5}
    with pytest.raises(ExportError, match="a domain and a source of topics"):
        mixopt.export(proposal(ratios), "olmix")


def test_a_topic_that_is_called_like_a_property():
    with pytest.raises(ExportError, match="reads a topic called 'weight' as a property"):
        mixopt.export(proposal({"a:weight": 0.5, "a:x": 0.5}), "olmix")
