def test_run_says_where_its_results_are(ran):
    folder, printed = ran
    (results,) = [line for line in printed.splitlines() if line.startswith("Results   ")]
    assert results.startswith(f"Results   {folder / 'out'}: ")
    for name in ("proposal.json", "exports", "report.html"):
        assert name in results.rpartition(": ")[2].split(", ")
        assert (folder / "out" / name).exists()
    assert (folder / "out" / "exports" / "mixture.json").is_file()
