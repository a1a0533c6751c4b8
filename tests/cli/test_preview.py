import toy
from calling import call


def test_preview_prints_ratios_and_writes_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path / "cache"))
    printed = call("preview", toy.write_study(tmp_path), "-o", tmp_path / "out")
    assert "Nothing was trained" in printed
    rows = [
        line.split() for line in printed.splitlines() if line.startswith(("birds", "ships", "sums"))
    ]
    assert abs(sum(float(row[2].rstrip("%")) for row in rows[-3:]) - 100) < 0.3
    assert not list((tmp_path / "out" / "artifacts").glob("bases/*"))
