import pandas as pd
from calling import call


def test_the_help_says_what_is_trained():
    printed = " ".join(call("search", "--help").split())
    assert "after trainings that are missing" in printed
    assert "natural's first two runs of a budget" in printed


def test_the_next_command_goes_on_in_the_same_folder(ran, again):
    folder, _ = ran
    (line,) = (line for line in again("search").splitlines() if line.startswith("Next "))
    study, out = folder / "toy.yaml", folder / "out"
    assert line == f"Next      mixopt propose {study} -o {out} --device cpu --no-track"
    assert "likely to be better" in again("propose")


def test_search_writes_its_trials(ran, again):
    folder, _ = ran
    (folder / "out" / "trials.csv").unlink()
    (line,) = (line for line in again("search").splitlines() if line.startswith("Results "))
    assert line.startswith(f"Results   {folder / 'out'}: ")
    assert "trials.csv" in line
    assert len(pd.read_csv(folder / "out" / "trials.csv")) >= 7
