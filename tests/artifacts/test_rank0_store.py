import threading

import pytest

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.rank0_store import RankZeroStore
from mixopt.errors import DivergedError, RunError


class Two:
    """Two threads that agree as the processes of a launch do."""

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=20)
        self.value = None

    def rank(self, own):
        both = self

        class Rank:
            is_main = own == 0

            def broadcast(self, value):
                if own == 0:
                    both.value = value
                both.barrier.wait()
                sent = both.value
                both.barrier.wait()
                return sent

        return Rank()


def build_on_both(tmp_path, kind, build):
    """What each of two processes gets, and which of them built."""
    both, found, built = Two(), {}, []

    def walk(own):
        def own_build(scratch):
            built.append(own)
            build(own, scratch)

        try:
            store = RankZeroStore(tmp_path, both.rank(own))
            found[own] = store.get_or_build(Artifact(kind, "web", {"a": 1}), own_build)
        except Exception as error:
            found[own] = error

    threads = [threading.Thread(target=walk, args=(own,)) for own in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, sorted(built)


def write(own, scratch):
    (scratch / "who").write_text(str(own))


@pytest.mark.parametrize(("kind", "builders"), [("experts", [0, 1]), ("scores", [0])])
def test_all_processes_train_and_the_first_builds_everything_else(tmp_path, kind, builders):
    found, built = build_on_both(tmp_path, kind, write)
    assert built == builders
    assert found[0] == found[1]
    assert (found[0] / "who").read_text() == "0"
    again, built = build_on_both(tmp_path, kind, write)
    assert (again, built) == (found, [])


def test_every_process_reports_a_failure(tmp_path):
    def build(own, scratch):
        raise DivergedError("The loss stopped being finite.")

    found, _ = build_on_both(tmp_path, "experts", build)
    assert all(isinstance(error, DivergedError) for error in found.values())
    found, _ = build_on_both(tmp_path, "scores", build)
    assert isinstance(found[0], DivergedError)
    assert isinstance(found[1], RunError)
    assert "The first process failed: The loss stopped" in str(found[1])
