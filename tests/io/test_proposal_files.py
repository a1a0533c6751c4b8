from mixopt.io.proposal_files import proposal_name, remove_further_proposals


def test_proposals_beyond_those_written_now_are_removed_and_nothing_else(tmp_path):
    names = [*map(proposal_name, (1, 2, 3, 12)), "proposal-old.json", "proposal-2.json.bak"]
    for name in names:
        (tmp_path / name).touch()
    remove_further_proposals(tmp_path, 2)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"proposal.json", "proposal-2.json", "proposal-old.json", "proposal-2.json.bak"}
    remove_further_proposals(tmp_path / "missing", 1)
