import pytest

from mixopt.callbacks.base import PlannedStage, TrainedModel
from mixopt.callbacks.clock import StudyClock, describe_time
from mixopt.callbacks.view import describe_work
from mixopt.io.progress import Work

PLAN = [
    PlannedStage("base", 1000), PlannedStage("experts", 2000), PlannedStage("search", scored=10),
    PlannedStage("budget", 3000),
]  # fmt: skip


class Time:
    def __init__(self):
        self.t = 0.0

    def __call__(self):
        return self.t


def trained(tokens):
    return TrainedModel("expert", "x", {}, {"tokens": float(tokens)})


@pytest.fixture
def clock():
    clock = StudyClock(Time())
    clock.plan(PLAN)
    return clock


def train(clock, seconds, tokens, *, advance=None):
    """A job of one training, reported when it is done."""
    job = Work("a job")
    clock.on_work_begin(job)
    clock.now.t += seconds
    clock.on_work_end(job)
    clock.on_trained(trained(tokens))
    if advance is not None:
        advance.done += 1
        clock.on_work_advance(advance)


def test_steps_of_the_base_tell_what_is_left_of_everything_that_is_trained(clock):
    clock.begin("base")
    assert clock.study_left is None
    steps = Work("training base", total=10, unit="step")
    clock.on_work_begin(steps)
    clock.now.t, steps.done = 5.0, 5
    assert clock.stage_left == pytest.approx(5.0)
    assert clock.study_left == pytest.approx(5.0 + 0.01 * 5000)


def test_experts_are_extrapolated_with_the_share_of_the_one_under_way(clock):
    clock.begin("experts")
    group = Work("experts", total=4, unit="expert")
    clock.on_work_begin(group)
    train(clock, 10.0, 500, advance=group)
    assert clock.stage_left == pytest.approx(30.0)
    steps = Work("training b", total=10, unit="step")
    clock.on_work_begin(steps)
    clock.now.t, steps.done = 15.0, 5
    assert clock.stage_left == pytest.approx(25.0)
    assert clock.study_left == pytest.approx(25.0 + 3000 * 0.02)


def test_what_was_read_from_the_store_tells_no_speed(clock):
    clock.begin("experts")
    group = Work("experts", total=4, unit="expert")
    clock.on_work_begin(group)
    for _ in range(2):
        clock.on_trained(trained(500))
        group.done += 1
        clock.on_work_advance(group)
    assert clock.stage_left is None
    clock.now.t = 1.0
    train(clock, 10.0, 500, advance=group)
    assert clock.stage_left == pytest.approx(10.0)


def test_a_search_counts_the_candidates_of_rounds_to_come(clock):
    clock.begin("search")
    group = Work("round 1: scoring", total=4, unit="candidate")
    clock.on_work_begin(group)
    clock.on_work_begin(Work("a job"))
    for _ in range(2):
        clock.now.t += 3.0
        group.done += 1
        clock.on_work_advance(group)
    assert clock.stage_left == pytest.approx(8 * 3.0)


def test_a_budget_is_left_by_its_tokens(clock):
    clock.begin("budget")
    train(clock, 10.0, 1000)
    assert clock.stage_left == pytest.approx(20.0)
    assert clock.study_left == pytest.approx(20.0)


def test_the_plan_of_a_phase_says_nothing_of_later_ones(clock):
    work = Work("experts", total=2, unit="expert")
    assert clock.planned_part == "study"
    clock.plan(PLAN, "phase")
    clock.begin("budget")
    train(clock, 10.0, 1000)
    assert describe_work(work, clock).endswith("20 s of the phase")
    clock.plan(PLAN)
    assert describe_work(work, clock).endswith("20 s of the study")


def test_a_command_without_a_plan_says_only_what_its_work_says():
    clock = StudyClock(Time())
    files = Work("merging", total=2, unit="file")
    clock.on_work_begin(files)
    assert clock.stage_left is None
    clock.now.t, files.done = 4.0, 1
    assert clock.stage_left == pytest.approx(4.0)
    assert clock.study_left is None
    clock.on_work_end(files)
    clock.on_work_end(files)
    assert clock.stage_left is None


def test_work_without_a_total_has_no_end(clock):
    clock.begin("text")
    clock.on_work_begin(Work("tokenizing", unit="document"))
    assert clock.stage_left is None


@pytest.mark.parametrize(("seconds", "words"), [
    (0.4, "0 s"), (89, "89 s"), (95, "2 min"), (3599, "1 h 0 min"), (12_000, "3 h 20 min"),
    (200_000, "2 d 8 h"),
])  # fmt: skip
def test_times_in_words(seconds, words):
    assert describe_time(seconds) == words
