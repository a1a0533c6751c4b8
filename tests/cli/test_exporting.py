import json

import pytest
from calling import call


def test_export_of_a_proposal(tables, tmp_path):
    call("propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path)
    text = call("export", tmp_path / "proposal.json", "-f", "megatron", "-p", "/d/{domain}")
    parts = text.split()
    assert parts[1::2] == ["/d/web", "/d/code"]
    assert sum(map(float, parts[::2])) == pytest.approx(1)
    told = call("export", tmp_path / "proposal.json", "-f", "json", "-o", tmp_path / "x.json",
                "-p", "web=/w", "-p", "code=/c")  # fmt: skip
    assert "x.json" in told
    assert json.loads((tmp_path / "x.json").read_text())["paths"] == {"web": "/w", "code": "/c"}


def test_damaged_proposals_are_told_in_one_sentence(tmp_path):
    path = tmp_path / "p.json"
    for content in ('{"ratios": [1, 2]}', "[]", '"x"', '{"ratios": {"a": 1}, "utility": 3}', "{"):
        path.write_text(content)
        told = call("export", path, "-f", "json", code=2)
        assert "not a proposal" in told
        assert told.count("\n") == 1
