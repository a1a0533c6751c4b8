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
    asked = request(n="1_000", yes="True", wrong="maybe")
    assert asked.whole("n") == 1000
    assert asked.whole("m", 3) == 3
    assert asked.flag("yes")
    assert not asked.flag("no")
    with pytest.raises(ExportError, match="needs the option 'm'"):
        asked.whole("m")
    with pytest.raises(ExportError, match="give a whole number from 1 on"):
        request(n=0).whole("n", least=1)
    with pytest.raises(ExportError, match="give true or false"):
        asked.flag("wrong")


def test_what_rounding_moved_is_known():
    assert request().drift == pytest.approx(1 / 3e9)
