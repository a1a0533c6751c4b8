import pytest
import yaml
from plans import PROPOSAL, SCHEDULE

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.export import check_export, export_phases

GOLDEN = """\
# Data mixture proposed by mixopt, shares of tokens (stable): web 0.75, code 0.25, law 0
# Data mixture proposed by mixopt, shares of tokens (anneal): web 0.25, code 0.5, law 0.25
# Times that 5,120,000 tokens read each: web 0.33, code 0.77, law 0.26
# nanotron loads the last stage's data alone: start at the checkpoint of step 4000,
# and train the stages before it by files of their own ({phase} in the file name).
# The last stage ends at step 5000: tokens.train_steps of this file.
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


def test_the_file_of_a_phase_holds_those_before_it(tmp_path):
    """nanotron loads the last stage alone, and finds it by the stages in the checkpoint's metadata."""
    out, options = tmp_path / "{phase}.yaml", {"paths": "/d/{domain}", "batch_tokens": 1024}
    files = [file.read_text() for file in export_phases(SCHEDULE, "nanotron", out=out, **options)]
    assert files[1] == GOLDEN
    (stage,) = yaml.safe_load(files[0])["data_stages"]
    assert stage == yaml.safe_load(GOLDEN)["data_stages"][0]
    assert "# The last stage ends at step 4000: tokens.train_steps" in files[0]
    assert "start at the checkpoint" not in files[0]


def test_steps_of_a_file_for_each_phase_are_asked_for_before_a_study_runs():
    domains = {"web": 1.0, "code": 1.0}
    with pytest.raises(ExportError, match="needs the option 'batch_tokens'"):
        check_export("nanotron", domains, "/d/{domain}", tokens={"a": 5, "b": 5},
                     tokens_per_document={}, out="{phase}.yaml")  # fmt: skip


def test_phases_are_told_in_steps():
    with pytest.raises(ExportError, match="needs the option 'batch_tokens'"):
        mixopt.export(SCHEDULE, "nanotron", paths="{domain}")
    with pytest.raises(ExportError, match="shorter than one step of 10,000,000 tokens"):
        mixopt.export(SCHEDULE, "nanotron", paths="{domain}", batch_tokens="10_000_000")
