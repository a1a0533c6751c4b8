import pandas as pd


def test_search_writes_its_trials(ran, again):
    folder, _ = ran
    (folder / "out" / "trials.csv").unlink()
    assert f"Trials    {folder / 'out' / 'trials.csv'}" in again("search")
    assert len(pd.read_csv(folder / "out" / "trials.csv")) >= 7
