import json

import pytest
import yaml
from plans import PROPOSAL, SCHEDULE

import mixopt


@pytest.mark.parametrize(("format", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_both_ratios_sum_to_one_and_differ(format, load):
    plain = load(mixopt.export(PROPOSAL, format))
    assert sum(plain["token_ratios"].values()) == pytest.approx(1, abs=1e-12)
    assert sum(plain["document_ratios"].values()) == pytest.approx(1, abs=1e-12)
    assert plain["token_ratios"]["web"] == pytest.approx(2 / 3, abs=1e-6)
    # 2/3 of the tokens in documents half as long is 4/5 of the documents
    assert plain["document_ratios"]["web"] == pytest.approx(0.8, abs=1e-6)


def test_json_and_yaml_say_the_same():
    as_json = json.loads(mixopt.export(PROPOSAL, "json", paths="d/{domain}"))
    assert as_json == yaml.safe_load(mixopt.export(PROPOSAL, "yaml", paths="d/{domain}"))
    assert as_json["paths"]["law"] == "d/law"


def test_phases_stand_one_after_the_other():
    plain = yaml.safe_load(mixopt.export(SCHEDULE, "yaml"))
    assert [phase["name"] for phase in plain["phases"]] == ["stable", "anneal"]
    assert plain["phases"][1]["token_ratios"] == {"web": 0.25, "code": 0.5, "law": 0.25}
    assert sum(plain["phases"][1]["document_ratios"].values()) == pytest.approx(1)
    assert "verdict" not in plain  # each phase has its own
    assert "verdict" in plain["phases"][0]
    assert plain["repetition"]["code"] == (0.25 * 4_096_000 + 0.5 * 1_024_000) / 2_000_000
