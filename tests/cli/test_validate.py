from mixopt.proposal import Proposal


def test_validate_proposes_with_both(ran, again):
    folder, _ = ran
    before = Proposal.read(folder / "out" / "proposal.json")
    printed = again("validate")
    assert f"Results   {folder / 'out'}: proposal.json, validation.json, trials.csv\n" in printed
    assert Proposal.read(folder / "out" / "proposal.json").ratios == before.ratios
