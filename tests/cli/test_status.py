import toy
from calling import call


def test_all_of_a_finished_study_is_done(ran, again):
    again("propose")  # the same proposal, of which there is a report
    printed = again("status")
    assert "done     expert ships" in printed
    total = next(line for line in printed.splitlines() if " s of work in " in line)
    n_done, n_all = total.split(" done;")[0].split(" of ")
    assert n_done == n_all
    assert f"s of work in {ran[0] / 'out'}" in printed


def test_a_storage_url_is_refused_as_it_is_not_looked_at(tmp_path):
    path = str(toy.write_study(tmp_path))
    printed = call("status", path, "-o", str(tmp_path / "out"), "--storage", "s3://x/y", code=2)
    assert "status looks at this machine's disk alone; leave --storage out" in printed
    assert "left     round 1" in call("status", path, "-o", str(tmp_path / "out"), "--storage", "")
