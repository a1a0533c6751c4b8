import json

import pytest

from mixopt.config.text import FilesTextConfig, HubTextConfig
from mixopt.data import heldout_text
from mixopt.data.heldout_text import is_large, read_heldout
from mixopt.data.sources import read_documents


def write(folder, n_files=6, n=400):
    folder.mkdir()
    for number in range(n_files):
        rows = [{"text": f"{number} {i} " + "x " * 200} for i in range(n)]
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FilesTextConfig(paths=[str(folder / "*")], part="heldout", heldout_share=0.2)


def test_items_of_a_small_text_are_its_first_ones(tmp_path):
    source = write(tmp_path / "d")
    assert not is_large(source)
    assert [*read_heldout(source, 7)] == [*read_documents(source)][:7]
    assert [*read_heldout(source, None)] == [*read_documents(source)]


def test_items_of_a_large_text_are_spread_over_its_files(tmp_path, monkeypatch):
    source = write(tmp_path / "d")
    monkeypatch.setattr(heldout_text, "LARGE_TOKENS", 10_000)
    items = [document.text for document in read_heldout(source, 30)]
    assert len(set(items)) == 30
    assert {text[0] for text in items} == set("012345")
    assert set(items) <= {document.text for document in read_documents(source)}
    assert items == [document.text for document in read_heldout(source, 30)]
    first = source.model_copy(update={"tokens": "all"})
    assert {text[0] for text in (d.text for d in read_heldout(first, 30))} == {"0"}


@pytest.mark.parametrize("kind", ["saved", "streamed"])
def test_items_of_a_large_dataset_are_no_first_rows(tmp_path, monkeypatch, kind):
    datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")
    write(tmp_path / "d")
    if kind == "saved":
        lines = "".join(file.read_text() for file in sorted((tmp_path / "d").iterdir()))
        rows = [json.loads(line) for line in lines.splitlines()]
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    path = str(tmp_path / ("saved" if kind == "saved" else "d"))
    source = HubTextConfig(kind="huggingface", path=path, part="heldout", heldout_share=0.2)
    assert not is_large(source)
    first = [document.text[0] for document in read_heldout(source, 30)]
    assert set(first) == {"0"}
    monkeypatch.setattr(heldout_text, "LARGE_TOKENS", 10_000)
    items = [document.text for document in read_heldout(source, 30)]
    assert len(set(items)) == 30
    assert {text[0] for text in items} == set("012345")
    assert set(items) <= {document.text for document in read_documents(source)}
