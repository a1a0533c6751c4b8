"""Datasets of the `datasets` library: saved, in a folder, or not there."""

from types import SimpleNamespace

import pytest
import toy

from mixopt.config.text import HubTextConfig
from mixopt.data.hub_dataset import describe_version
from mixopt.data.sources import read_documents
from mixopt.errors import DataError

datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")
ROWS = [{"text": f"document {i}", "page": str(i // 2)} for i in range(40)]


def test_dataset_saved_to_disk(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    source = HubTextConfig(kind="huggingface", path=str(tmp_path / "saved"))
    assert [d.text for d in read_documents(source)] == [row["text"] for row in ROWS]


def test_local_folder_of_the_datasets_library(tmp_path):
    toy.write_jsonl(tmp_path / "set" / "train.jsonl", ROWS)
    source = HubTextConfig(kind="huggingface", path=str(tmp_path / "set"), group="page")
    documents = list(read_documents(source))
    assert [d.text for d in documents] == [row["text"] for row in ROWS]
    assert documents[3].group == "1"


def test_dataset_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be loaded"):
        list(read_documents(HubTextConfig(kind="huggingface", path=str(tmp_path / "none"))))


def test_the_version_of_a_hub_dataset_is_its_commit_where_it_is_known(monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="the hub extra is not installed")
    source = HubTextConfig(kind="huggingface", path="nobody/nothing", revision="main")

    class Api:
        def dataset_info(self, path, *, revision, timeout):
            assert (path, revision) == ("nobody/nothing", "main")
            return SimpleNamespace(sha="c0ffee")

    monkeypatch.setattr(hub, "HfApi", Api)
    assert describe_version(source) == "c0ffee"

    class Offline:
        def dataset_info(self, *_, **__):
            raise ConnectionError("offline")

    monkeypatch.setattr(hub, "HfApi", Offline)
    assert describe_version(source) is None
