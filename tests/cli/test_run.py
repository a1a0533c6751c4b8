def test_run_says_where_its_results_are(ran):
    folder, printed = ran
    for name in ("proposal.json", "exports", "report.html"):
        assert f" {folder / 'out' / name}\n" in printed
        assert (folder / "out" / name).exists()
    assert (folder / "out" / "exports" / "mixture.json").is_file()
