import sys

from calling import call


def test_sync_of_a_folder_without_a_queue(tmp_path):
    assert call("sync", tmp_path) == f"Sent      0 records from {tmp_path}\n"


def test_sync_needs_mlflow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert "pip install 'mixopt[mlflow]'" in call("sync", tmp_path, code=2)
