import pytest
from plans import BARE, PATHS, PROPOSAL, SCHEDULE

from mixopt.errors import ExportError
from mixopt.exporters.export import FORMATS, export, export_phases, find_format


def test_every_listed_format_is_found_by_its_name():
    found = [find_format(name) for name in FORMATS]
    assert len({id(each) for each in found}) == len(FORMATS)
    with pytest.raises(ExportError, match="Did you mean 'megatron'"):
        find_format("megatronn")


def test_an_export_is_returned_and_written_the_same(tmp_path):
    text = export(PROPOSAL, "megatron", paths=PATHS, out=tmp_path / "blend.txt")
    assert (tmp_path / "blend.txt").read_text() == text
    assert text == export(PROPOSAL, "megatron", paths=PATHS)


def test_a_format_without_phases_takes_a_file_for_each(tmp_path):
    files = export_phases(SCHEDULE, "megatron", paths=PATHS, out=tmp_path / "{phase}.txt")
    assert [file.name for file in files] == ["stable.txt", "anneal.txt"]
    assert files[0].read_text() != files[1].read_text()


def test_documents_need_their_length():
    with pytest.raises(ExportError, match="tokens_per_document"):
        export(BARE, "hf-datasets", paths={"web": "w", "code": "c"})
