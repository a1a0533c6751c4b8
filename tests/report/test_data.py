from report.pages import report


def test_the_first_proposal_is_the_best():
    data = report()
    assert data.best is data.proposals[0]


def test_answers_name_columns_that_the_emulator_has():
    asked = report().what_if
    columns = {place for a in asked.answers for place in (a.mean, a.change, a.variance)}
    assert columns == set(range(asked.emulator.offsets.size))
