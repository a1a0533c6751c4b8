from mixopt.io.globs import anchor_glob, drop_repeats, expand_glob


def test_a_folder_with_the_marks_of_globs_in_its_name(tmp_path):
    folder = tmp_path / "run[1]"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.txt", "b[0].txt", "deep/c.txt"):
        (folder / name).write_text("x")

    def found(pattern):
        return expand_glob(anchor_glob(pattern, folder))

    assert found("a.txt") == [str(folder / "a.txt")]
    assert found("b[0].txt") == []  # beside a glob nothing tells that it is a name
    assert expand_glob(str(folder / "b[0].txt")) == [str(folder / "b[0].txt")]
    assert found("*.txt") == [str(folder / "a.txt"), str(folder / "b[0].txt")]
    assert found("**/*.txt") == [str(folder / n) for n in ("a.txt", "b[0].txt", "deep/c.txt")]
    assert found("deep/../*.txt") == found("*.txt")
    assert found("none*") == []


def test_absolute_globs_stay(tmp_path):
    assert anchor_glob("/data/*.txt", tmp_path) == "/data/*.txt"
    assert anchor_glob("/data/a.txt", tmp_path) == "/data/a.txt"


def test_a_file_under_two_names_is_kept_under_the_first(tmp_path, caplog):
    (tmp_path / "data").write_text("x")
    link = tmp_path / "a_link"
    link.symlink_to("data")
    assert drop_repeats([link, tmp_path / "data", "s3://a", "s3://a"]) == [link, "s3://a"]
    other = tmp_path / "other"
    other.symlink_to("data")
    assert drop_repeats([link, other, tmp_path / "data"]) == [link]
    told = f"{tmp_path / 'data'} is the same file as {link} and is left out"
    also = f"{other} is the same file as {link} and is left out (and 1 more such)"
    assert caplog.messages == [f"{told}.", f"{also}."]


def test_a_glob_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert anchor_glob("~/d/*.txt", tmp_path) == "/home/me/d/*.txt"
    assert anchor_glob("~/d/a.txt", tmp_path) == "/home/me/d/a.txt"
