import pytest
import yaml
from plans import PROPOSAL

import mixopt
from mixopt.errors import ExportError

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
dataset: web,code
mix_strategy: interleave_over
interleave_probs: 0.8,0.2
streaming: true
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "llama-factory") == GOLDEN


def test_datasets_may_be_called_otherwise():
    text = mixopt.export(PROPOSAL, "llama-factory", paths={"web": "fineweb"})
    assert yaml.safe_load(text)["dataset"] == "fineweb,code"


def test_what_would_take_no_probabilities_is_refused():
    with pytest.raises(ExportError, match="'concat' takes no probabilities"):
        mixopt.export(PROPOSAL, "llama-factory", mix_strategy="concat")
    with pytest.raises(ExportError, match="splits its datasets at commas"):
        mixopt.export(PROPOSAL, "llama-factory", paths={"web": "a,b"})


@pytest.mark.filterwarnings("ignore")
def test_the_real_data_arguments():
    arguments = pytest.importorskip(
        "llamafactory.hparams.data_args", reason="llamafactory is not installed"
    )
    config = arguments.DataArguments(**yaml.safe_load(mixopt.export(PROPOSAL, "llama-factory")))
    assert config.dataset == ["web", "code"]
    assert config.interleave_probs == [0.8, 0.2]
