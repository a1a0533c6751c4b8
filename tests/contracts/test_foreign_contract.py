"""What every reader promises: a file from anybody is accepted rightly or refused in one sentence."""

import foreign
import mutations
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("name", foreign.TARGETS)
def test_the_right_file_is_accepted(name):
    right, read = foreign.TARGETS[name]
    read(right())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what numpy and pandas say of nonsense
@pytest.mark.parametrize("name", foreign.TARGETS)
def test_any_file_is_accepted_or_refused_in_one_sentence(name):
    right, read = foreign.TARGETS[name]

    @settings(max_examples=60, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data())
    def check(data):
        content = data.draw(mutations.spoiled(right(), structured=name in foreign.STRUCTURED))
        refusal = foreign.refusal_of(read, content)
        assert refusal is None or foreign.is_one_sentence(refusal), refusal

    check()
