import pytest

from mixopt.callbacks.mlflow.records import is_record

BATCH = {"do": "batch", "run": "p", "metrics": [["loss", 1.0, 5, 0]], "params": {}, "tags": {}}
TEXT = {"do": "text", "run": "p", "text": "x", "path": "a/b.txt"}


@pytest.mark.parametrize("record", [
    BATCH,
    TEXT,
    {"do": "file", "run": "p", "file": "exports/a", "to": None},
    {"do": "end", "run": "p", "status": "FAILED", "time": 1},
])  # fmt: skip
def test_records_of_ours(record):
    assert is_record(record)


@pytest.mark.parametrize("record", [
    {},
    {"do": "next", "run": "p"},
    {"do": ["run"], "run": "p"},
    BATCH | {"run": None},
    BATCH | {"metrics": [["loss", "1", 5, 0]]},
    BATCH | {"metrics": ["loss"]},
    BATCH | {"params": {"a": {}}},
    {key: value for key, value in BATCH.items() if key != "tags"},
    TEXT | {"path": "../b.txt"},
    TEXT | {"path": "/etc/b.txt"},
    {"do": "file", "run": "p", "file": "a", "to": "../.."},
    {"do": "end", "run": "p", "status": "DELETED", "time": 1},
])  # fmt: skip
def test_other_lines(record):
    assert not is_record(record)
