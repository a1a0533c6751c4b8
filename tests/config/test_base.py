import pytest
from pydantic import ValidationError

from mixopt.config.base import ConfigModel


class Example(ConfigModel):
    number: int = 1


def test_closed_and_frozen():
    with pytest.raises(ValidationError, match="nmber"):
        Example(nmber=2)
    with pytest.raises(ValidationError, match="frozen"):
        Example().number = 3
