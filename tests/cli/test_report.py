def test_report_is_written_again(ran, again):
    folder, _ = ran
    (folder / "out" / "report.html").unlink()
    assert f"Results   {folder / 'out'}: report.html, proposal.json" in again("report")
    assert "toy" in (folder / "out" / "report.html").read_text()
