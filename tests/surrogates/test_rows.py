import numpy as np
import pandas as pd
import pytest

from mixopt import Mixture
from mixopt.errors import ArgumentTypeError, MixtureError
from mixopt.surrogates.rows import as_row, as_rows

DOMAINS = ("web", "code", "math")
ROWS = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])


def test_arrays_are_returned_as_they_are():
    assert as_rows(ROWS, DOMAINS) is ROWS
    assert as_row(ROWS[0], DOMAINS).tolist() == ROWS[0].tolist()
    single = ROWS.astype(np.float32)
    assert as_rows(single, DOMAINS) is single


def test_names_go_by_name():
    other = ["math", "web", "code"]
    frame = pd.DataFrame(ROWS, columns=list(DOMAINS))[other]
    assert as_rows(frame, DOMAINS).tolist() == ROWS.tolist()
    named = dict(zip(DOMAINS, ROWS[0].tolist(), strict=True))
    turned = {name: named[name] for name in other}
    for given in (turned, Mixture(turned), pd.Series(turned)):
        assert as_rows(given, DOMAINS) == pytest.approx(ROWS[:1])
        assert as_rows([given, given], DOMAINS) == pytest.approx(ROWS[[0, 0]])
        assert as_row(given, DOMAINS) == pytest.approx(ROWS[0])
    assert as_rows(pd.DataFrame({"code": [1.0]}), DOMAINS).tolist() == [[0, 1, 0]]


def test_a_frame_without_names_and_a_list_are_in_the_order_of_the_domains():
    assert as_rows(pd.DataFrame(ROWS), DOMAINS).tolist() == ROWS.tolist()
    assert as_rows(ROWS.tolist(), DOMAINS).tolist() == ROWS.tolist()


def test_what_is_no_table_of_mixtures():
    for given, words in (
        (ROWS[0], r"shape \(3,\) of one mixture were given; give an array of n x 3"),
        (
            ROWS[:, :2],
            "give an array of n x 3, one row for each mixture, in the order of web, code, math",
        ),
        (100 * ROWS, r"row 0 sum to 100, not to 1; divide them by their sum"),
        (
            pd.DataFrame({"wab": [1.0]}),
            "Column 'wab' is none of the domains; .* Did you mean 'web'",
        ),
        ({"wab": 1.0}, "'wab' is not one of the domains"),
    ):
        with pytest.raises(MixtureError, match=words):
            as_rows(given, DOMAINS)
    for given in ("web", None, pd.DataFrame({"web": ["a"]}), object()):
        with pytest.raises(ArgumentTypeError, match="is no table of mixtures"):
            as_rows(given, DOMAINS)


def test_what_is_no_single_mixture():
    for given, words in ((ROWS[:1], r"has the shape \(1, 3\); give one mixture"),
                         (100 * ROWS[0], "sum to 100")):  # fmt: skip
        with pytest.raises(MixtureError, match=words):
            as_row(given, DOMAINS)
