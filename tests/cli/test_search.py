import pandas as pd


def test_search_writes_its_trials(ran, again):
    folder, _ = ran
    (folder / "out" / "trials.csv").unlink()
    (line,) = (line for line in again("search").splitlines() if line.startswith("Results "))
    assert line.startswith(f"Results   {folder / 'out'}: ")
    assert "trials.csv" in line
    assert len(pd.read_csv(folder / "out" / "trials.csv")) >= 7
