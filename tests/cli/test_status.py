def test_all_of_a_finished_study_is_done(ran, again):
    again("propose")  # the same proposal, of which there is a report
    printed = again("status")
    assert "done     expert ships" in printed
    total = next(line for line in printed.splitlines() if " s of work in " in line)
    n_done, n_all = total.split(" done;")[0].split(" of ")
    assert n_done == n_all
    assert f"s of work in {ran[0] / 'out'}" in printed
