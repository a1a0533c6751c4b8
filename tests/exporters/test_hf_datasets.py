import json
import runpy

import pytest
from plans import BARE, PROPOSAL

import mixopt
from mixopt.errors import ExportError

datasets = pytest.importorskip("datasets", reason="the hub extra is not installed")


def test_loaded_by_the_real_library_tokens_come_in_the_proposed_ratios(tmp_path):
    """Documents of 100 and 200 tokens: the module must draw documents so that tokens fit."""
    for name, length in (("web", 100), ("code", 200)):
        rows = [json.dumps({"text": f"{name} " * length}) for _ in range(3000)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    out = tmp_path / "mixture.py"
    mixopt.export(
        PROPOSAL, "hf-datasets", paths=str(tmp_path / "{domain}.jsonl"), out=out,
        stopping_strategy="first_exhausted",
    )  # fmt: skip
    tokens = {"web": 0, "code": 0}
    for row in runpy.run_path(str(out))["load"](seed=1):
        words = row["text"].split()
        tokens[words[0]] += len(words)
    assert tokens["web"] / sum(tokens.values()) == pytest.approx(2 / 3, abs=0.02)


def test_documents_need_measured_tokens_per_document():
    with pytest.raises(ExportError, match="tokens per document of 'web' are not known"):
        mixopt.export(BARE, "hf-datasets", paths="{domain}")


def test_strategy_that_ignores_the_ratios_is_refused():
    with pytest.raises(ExportError, match="does not keep the ratios"):
        mixopt.export(
            PROPOSAL, "hf-datasets", paths="{domain}",
            stopping_strategy="all_exhausted_without_replacement",
        )  # fmt: skip


@pytest.mark.parametrize("field", ["text", "body"])
def test_other_columns_of_the_domains_may_differ_in_type(tmp_path, field):
    """The id is a number here and a text there, which interleave_datasets refuses."""
    others = {"web": {"id": 1, "meta": {"url": "x"}}, "code": {"id": "sha", "meta": "repo"}}
    for name, more in others.items():
        rows = [json.dumps({**more, field: f"{name} {i}"}) for i in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    options = {} if field == "text" else {"field": field}
    out = tmp_path / "mixture.py"
    mixopt.export(
        PROPOSAL, "hf-datasets", paths=str(tmp_path / "{domain}.jsonl"), out=out, **options
    )
    rows = list(runpy.run_path(str(out))["load"]())
    assert {row[field].split()[0] for row in rows} == {"web", "code"}
    assert all(list(row) == [field] for row in rows)
