from calling import call


def test_what_is_packed_is_unpacked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trials.csv").write_text("id\n")
    printed = call("pack", tmp_path / "out", tmp_path / "x.tar.gz")
    assert printed == f"Packed    1 files into {tmp_path / 'x.tar.gz'}\n"
    printed = call("unpack", tmp_path / "x.tar.gz", tmp_path / "there")
    assert printed == f"Unpacked  1 files into {tmp_path / 'there'}\n"
    assert (tmp_path / "there" / "trials.csv").read_text() == "id\n"
    assert "holds something already" in call(
        "unpack", tmp_path / "x.tar.gz", tmp_path / "there", code=2
    )
