import pytest
import yaml
from plans import OPTIONS, PROPOSAL, SCHEDULE

import mixopt
from mixopt.errors import ExportError

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
data:
  components:
    web:
      source:
        type: url
        train_urls:
        - /d/web.jsonl
    code:
      source:
        type: url
        train_urls:
        - /d/code.jsonl
  train_weights:
    web: 0.666666667
    code: 0.333333333
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "levanter", paths="/d/{domain}.jsonl") == GOLDEN


def test_phases_begin_with_whole_blocks():
    """4,096,000 tokens are 4,000 steps of 8 x 128; a block of 64 sequences is 8 steps."""
    text = mixopt.export(SCHEDULE, "levanter", paths="{domain}", **OPTIONS["levanter"])
    data = yaml.safe_load(text)["data"]
    assert data["mixture_block_size"] == 64
    assert [step for step, _ in data["train_weights"]] == [0, 4000]
    assert data["train_weights"][1][1] == {"web": 0.25, "code": 0.5, "law": 0.25}


def test_what_phases_need_is_asked_for():
    with pytest.raises(ExportError, match="needs the option 'batch_sequences'"):
        mixopt.export(SCHEDULE, "levanter", paths="{domain}")
    with pytest.raises(ExportError, match="'batch_sequences' is 'x'; give a whole number"):
        mixopt.export(SCHEDULE, "levanter", paths="{domain}", batch_sequences="x", context=1)
    options = {"batch_sequences": 1, "context": 1024, "mixture_block_size": 16384}
    with pytest.raises(ExportError, match="A phase is shorter than 16384 steps"):
        mixopt.export(SCHEDULE, "levanter", paths="{domain}", **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("plan", [PROPOSAL, SCHEDULE])
def test_the_real_config(plan):
    text_module = pytest.importorskip(
        "levanter.data.text", reason="marin-levanter is not installed"
    )
    draccus = pytest.importorskip("draccus")
    options = OPTIONS["levanter"] if plan is SCHEDULE else {}
    plain = yaml.safe_load(mixopt.export(plan, "levanter", paths="/d/{domain}.jsonl", **options))
    config = draccus.decode(text_module.LmDataConfig, plain["data"])
    if plan is PROPOSAL:
        assert config.train_weights == {"web": 0.666666667, "code": 0.333333333}
    else:
        assert [step for step, _ in config.train_weights] == [0, 4000]
    assert config.components["web"].source.train_urls == ["/d/web.jsonl"]
