import pytest
import yaml
from plans import PROPOSAL

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.check import check_config

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
# Fine-tuning (stage: sft) cuts examples at cutoff_len (2048), which changes the shares of tokens: give
# one that holds the longest example. Pre-training (stage: pt) packs them and cuts none.
dataset: web,code
mix_strategy: interleave_over
interleave_probs: 0.8,0.2
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "llama-factory") == GOLDEN


def test_datasets_may_be_called_otherwise():
    text = mixopt.export(PROPOSAL, "llama-factory", paths={"web": "fineweb"})
    assert yaml.safe_load(text)["dataset"] == "fineweb,code"


def test_a_strategy_that_drops_the_probabilities_is_no_mixture():
    """It draws each document once, whatever its dataset's probability."""
    text = GOLDEN.replace("interleave_over", "interleave_once")
    with pytest.raises(ExportError, match="mix_strategy is 'interleave_once', which does not keep"):
        check_config(PROPOSAL, "llama-factory", text)
    text = GOLDEN.replace("mix_strategy: interleave_over\n", "")
    with pytest.raises(ExportError, match="no mix_strategy"):
        check_config(PROPOSAL, "llama-factory", text)


def test_globs_are_no_names_of_datasets(tmp_path):
    (tmp_path / "web_0").write_text("")
    with pytest.raises(ExportError, match=r"takes names of datasets .* is a glob"):
        mixopt.export(PROPOSAL, "llama-factory", paths={"web": str(tmp_path / "web_*")})


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
