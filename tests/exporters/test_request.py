import pytest
from plans import PATHS, PROPOSAL

from mixopt.errors import ExportError
from mixopt.exporters.export import make_request


def request(**options):
    return make_request(PROPOSAL, PATHS, options)


def test_documents_follow_from_tokens_and_their_length():
    """2/3 of the tokens in documents half as long is 4/5 of the documents."""
    assert request().document_ratios() == {"web": 0.8, "code": 0.2, "law": 0.0}


def test_options_are_numbers_and_flags():
    requested = request(n="1_000", yes="True", wrong="maybe")
    assert requested.int_option("n") == 1000
    assert requested.int_option("m", 3) == 3
    assert requested.bool_option("yes")
    assert not requested.bool_option("no")
    with pytest.raises(ExportError, match="needs the option 'm'"):
        requested.int_option("m")
    with pytest.raises(ExportError, match="give a whole number from 1 on"):
        request(n=0).int_option("n", least=1)
    with pytest.raises(ExportError, match="give true or false"):
        requested.bool_option("wrong")


def test_what_rounding_moved_is_known():
    assert request().drift == pytest.approx(1 / 3e9)
