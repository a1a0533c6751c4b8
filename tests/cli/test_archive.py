from calling import call


def test_what_is_packed_is_unpacked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trials.csv").write_text("id\n")
    told = call("pack", tmp_path / "out", tmp_path / "x.tar.gz")
    assert told == f"Packed    1 files into {tmp_path / 'x.tar.gz'}\n"
    told = call("unpack", tmp_path / "x.tar.gz", tmp_path / "there")
    assert told == f"Unpacked  1 files into {tmp_path / 'there'}\n"
    assert (tmp_path / "there" / "trials.csv").read_text() == "id\n"
    assert "holds something already" in call(
        "unpack", tmp_path / "x.tar.gz", tmp_path / "there", code=2
    )
