import pytest
import yaml
from plans import PROPOSAL, SCHEDULE

import mixopt
from mixopt.errors import ExportError

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens (stable): web 0.75, code 0.25, law 0
# Data mixture proposed by mixopt, shares of tokens (anneal): web 0.25, code 0.5, law 0.25
# Times that 5,120,000 tokens read each: web 0.33, code 0.77, law 0.26
data_stages:
- name: stable
  start_training_step: 1
  data:
    dataset:
      dataset_folder:
      - /d/web
      - /d/code
      dataset_weights:
      - 0.75
      - 0.25
    seed: 42
    num_loading_workers: 1
- name: anneal
  start_training_step: 4001
  data:
    dataset:
      dataset_folder:
      - /d/web
      - /d/code
      - /d/law
      dataset_weights:
      - 0.25
      - 0.5
      - 0.25
    seed: 42
    num_loading_workers: 1
"""


def test_golden():
    assert mixopt.export(SCHEDULE, "nanotron", paths="/d/{domain}", batch_tokens=1024) == GOLDEN


def test_one_mixture_is_one_stage_from_the_first_step():
    (stage,) = yaml.safe_load(mixopt.export(PROPOSAL, "nanotron", paths="{domain}"))["data_stages"]
    assert stage["start_training_step"] == 1


def test_phases_are_told_in_steps():
    with pytest.raises(ExportError, match="needs the option 'batch_tokens'"):
        mixopt.export(SCHEDULE, "nanotron", paths="{domain}")
    with pytest.raises(ExportError, match="shorter than one step of 10,000,000 tokens"):
        mixopt.export(SCHEDULE, "nanotron", paths="{domain}", batch_tokens="10_000_000")
