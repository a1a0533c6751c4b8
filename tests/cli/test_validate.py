import toy
from calling import call

from mixopt.proposal import Proposal


def test_validate_proposes_with_both(ran, again):
    folder, _ = ran
    before = Proposal.read(folder / "out" / "proposal.json")
    printed = again("validate")
    assert f"Results   {folder / 'out'}: proposal.json, validation.json, trials.csv\n" in printed
    assert Proposal.read(folder / "out" / "proposal.json").ratios == before.ratios


def test_a_study_without_validation_trains_nothing(tmp_path):
    path = toy.write_study(tmp_path)
    printed = call("validate", path, "-o", tmp_path / "out", "--no-track", code=2)
    assert "has no `validation` section; add one (mixtures: 6" in printed
    assert not (tmp_path / "out").exists()
