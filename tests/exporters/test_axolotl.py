import json

import pytest
import yaml
from plans import PROPOSAL, proposal

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.check import check_config
from mixopt.exporters.export import export_phases


def test_counts_are_those_of_the_budget():
    """6M tokens: 4M of web in documents of 100, 2M of code in documents of 200."""
    config = yaml.safe_load(mixopt.export(PROPOSAL, "axolotl", paths="{domain}", ds_type="json"))
    assert config["shuffle_merged_datasets"] is True
    assert config["datasets"] == [
        {"path": "web", "type": "completion", "split": "train[:40000]", "ds_type": "json"},
        {"path": "code", "type": "completion", "split": "train[:10000]", "ds_type": "json"},
    ]


def test_what_is_read_again_is_another_copy():
    plan = proposal({"web": 0.0, "code": 1.0, "law": 0.0}, 5_000_000)
    config = yaml.safe_load(mixopt.export(plan, "axolotl", paths="{domain}"))
    splits = [entry["split"] for entry in config["datasets"]]
    assert splits == ["train[:10000]", "train[:10000]", "train[:5000]"]


def test_a_later_phase_goes_on_where_the_one_before_ended(tmp_path):
    """Of code's 10,000 documents the first phase reads 7,500, the second 2,500 and the first 2,500."""
    ratios = {"web": 0.5, "code": 0.5, "law": 0.0}
    phases = [
        mixopt.Phase(name, proposal(ratios, n)) for name, n in (("a", 3_000_000), ("b", 2_000_000))
    ]
    files = export_phases(
        mixopt.Schedule(tuple(phases)), "axolotl", paths="{domain}", out=tmp_path / "{phase}"
    )
    splits = [
        [(entry["path"], entry["split"]) for entry in yaml.safe_load(file.read_text())["datasets"]]
        for file in files
    ]
    assert splits[0] == [("web", "train[:15000]"), ("code", "train[:7500]")]
    assert splits[1] == [
        ("web", "train[15000:25000]"), ("code", "train[7500:10000]"), ("code", "train[:2500]"),
    ]  # fmt: skip
    (part,) = check_config(phases[1].proposal, "axolotl", files[1].read_text(), paths="{domain}")
    assert part.largest < 1e-9


@pytest.mark.filterwarnings("ignore")
def test_the_slices_are_those_of_datasets(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")
    lengths, available = {"web": 2.0, "code": 4.0}, {"web": 200, "code": 80}
    plan = proposal({"web": 0.5, "code": 0.5}, budget=mixopt.Budget(200, available),
                    tokens_per_document=lengths)  # fmt: skip
    for name, words in lengths.items():
        row = json.dumps({"text": "w " * int(words)})
        (tmp_path / f"{name}.jsonl").write_text((row + "\n") * int(available[name] / words))
    text = mixopt.export(plan, "axolotl", paths=str(tmp_path / "{domain}.jsonl"))
    tokens = {"web": 0, "code": 0}
    for entry in yaml.safe_load(text)["datasets"]:
        rows = datasets.load_dataset("json", data_files=entry["path"], split=entry["split"],
                                     cache_dir=str(tmp_path / "cache"))  # fmt: skip
        name = "web" if entry["path"].endswith("web.jsonl") else "code"
        tokens[name] += sum(len(row["text"].split()) for row in rows)
    assert tokens == {"web": 100, "code": 100}


def test_a_split_without_a_count_cannot_be_weighed():
    text = "datasets:\n- {path: web, split: train}\n"
    with pytest.raises(ExportError, match="without a count"):
        check_config(PROPOSAL, "axolotl", text, paths="{domain}")
