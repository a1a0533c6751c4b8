import pytest
import yaml
from plans import PATHS, PROPOSAL

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.check import check_config

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
# GPT-NeoX takes these with valid-data-paths and test-data-paths alone (--option valid=... test=...), and
# with no data_path: remove that from the run's other configs.
train-data-paths:
- /d/web_text_document
- /d/code_text_document
train-data-weights:
- 0.666666667
- 0.333333333
weight_by_num_documents: false
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "gpt-neox", paths=PATHS) == GOLDEN


def test_held_out_data_goes_beside_the_training_data():
    """GPT-NeoX asserts that paths of all three splits are given, or of none."""
    text = mixopt.export(PROPOSAL, "gpt-neox", paths=PATHS, valid=["/v/a", "/v/b"], test=["/t"])
    config = yaml.safe_load(text)
    assert config["valid-data-paths"] == ["/v/a", "/v/b"]
    assert config["test-data-paths"] == ["/t"]
    for given in ("/v", []):
        with pytest.raises(ExportError, match="Option 'valid' is .*; give a list of paths"):
            mixopt.export(PROPOSAL, "gpt-neox", paths=PATHS, valid=given)


def test_what_would_put_other_weights_in_their_place_is_told():
    text = GOLDEN.replace("false", "true")
    with pytest.raises(ExportError, match="replaces these weights"):
        check_config(PROPOSAL, "gpt-neox", text, paths=PATHS)
