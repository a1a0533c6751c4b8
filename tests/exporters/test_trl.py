import json

import pytest
import yaml
from plans import PROPOSAL

import mixopt

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00
# Fractions are shares of examples; TRL cuts larger sets and repeats none. It also cuts each example at
# max_length (1024), which changes the shares of tokens: set packing: true with packing_strategy: wrapped
# or bfd_split, or max_length: null.
datasets:
- path: json
  data_files: /d/web.jsonl
  split: train
  columns:
  - text
  fraction: 0.8
- path: json
  data_files: /d/code.jsonl
  split: train
  columns:
  - text
  fraction: 0.2
streaming: false
"""


def test_golden():
    assert mixopt.export(PROPOSAL, "trl", paths="/d/{domain}.jsonl") == GOLDEN


def test_datasets_of_the_hub_are_paths():
    text = mixopt.export(PROPOSAL, "trl", paths="lab/{domain}", loader="hub")
    assert "- path: lab/web\n" in text
    assert "data_files" not in text


def test_columns_are_those_of_the_data():
    for given, columns in ((["prompt", "completion"], ["prompt", "completion"]), (None, None)):
        text = mixopt.export(PROPOSAL, "trl", paths="{domain}.jsonl", columns=given)
        assert yaml.safe_load(text)["datasets"][0].get("columns") == columns


@pytest.mark.filterwarnings("ignore")
def test_the_real_library_draws_tokens_in_the_proposed_ratios(tmp_path):
    trl = pytest.importorskip("trl", reason="trl is not installed")
    # the datasets differ in the type of a field that nobody trains on
    for name, words, key in (("web", 100, 1), ("code", 200, "a")):
        row = json.dumps({"text": f"{name} " * words, "key": key})
        (tmp_path / f"{name}.jsonl").write_text((row + "\n") * 600)
    config = tmp_path / "trl.yaml"
    mixopt.export(PROPOSAL, "trl", paths=str(tmp_path / "{domain}.jsonl"), out=config)
    (parsed,) = trl.TrlParser([trl.DatasetMixtureConfig]).parse_args_and_config(
        ["--config", str(config)]
    )
    assert [entry.fraction for entry in parsed.datasets] == [0.8, 0.2]
    tokens = {"web": 0, "code": 0}
    for row in trl.get_dataset(parsed)["train"]:
        words = row["text"].split()
        tokens[words[0]] += len(words)
    assert tokens["web"] / sum(tokens.values()) == pytest.approx(2 / 3, abs=0.01)
