"""Every reader accepts an untrusted file or refuses it with one clear sentence."""

import foreign
import mutations
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def fault_of(read, content):
    """What is wrong with how a reader treats `content`; None where it does what it should."""
    try:
        refusal = foreign.refusal_of(read, content)
    except Exception as error:
        return f"{content[:60]!r} raises {type(error).__name__}: {error}"
    if refusal is None or foreign.is_one_sentence(refusal):
        return None
    return f"{content[:60]!r} is refused with {refusal!r}"


@pytest.mark.parametrize("name", foreign.TARGETS)
def test_the_right_file_is_accepted(name):
    right, read = foreign.TARGETS[name]
    read(right())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numpy and pandas warn about nonsense
@pytest.mark.parametrize("name", foreign.TARGETS)
def test_hostile_files_are_accepted_or_refused_in_one_sentence(name):
    _, read = foreign.TARGETS[name]
    faults = [fault for content in mutations.RAW if (fault := fault_of(read, content))]
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numpy and pandas warn about nonsense
@pytest.mark.parametrize("name", foreign.TARGETS)
def test_spoiled_files_are_accepted_or_refused_in_one_sentence(name):
    """A few examples of each; studies/robustness tries many."""
    right, read = foreign.TARGETS[name]

    @settings(max_examples=20, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data())
    def check(data):
        content = data.draw(mutations.spoiled(right(), structured=name in foreign.STRUCTURED))
        refusal = foreign.refusal_of(read, content)
        assert refusal is None or foreign.is_one_sentence(refusal), refusal

    check()
