"""How long a stage and the whole study will take, from what was planned and what was done so far.

Everything that a study trains has the size of its base, so tokens of training cost alike. What is read
from the store costs nothing and tells nothing about the rest.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from mixopt.callbacks.base import PlannedStage, Stage, TrainedModel
from mixopt.io.progress import Work

STAGES: tuple[Stage, ...] = get_args(Stage)
UNITS_OF_JOBS = ("expert", "run", "candidate", "mixture")
"""Units of work whose parts may be read from the store; those that are not are jobs."""
CANDIDATES = "candidate"
"""Unit of the work that a plan counts as `scored`."""


@dataclass
class _Group:
    """Counted work, such as `experts`, or the steps of one training.

    Attributes:
        work: The work.
        since: When the first part began that was really done, in seconds.
        before: Parts that were done by then: read from the store.
        has_begun: Whether such a part has begun.
    """

    work: Work
    since: float
    before: float
    has_begun: bool = False


@dataclass
class StudyClock:
    """Estimates what is left of a study; all times are in seconds.

    Attributes:
        now: Returns the time.
        stage: The stage that is under way.
        groups: Counted work under way, outermost first.
        planned_part: What the plan is of: `study`, or `phase` where later ones have their own plans.
    """

    now: Callable[[], float] = time.monotonic
    stage: Stage | None = None
    groups: list[_Group] = field(default_factory=list)
    planned_part: Literal["study", "phase"] = "study"

    def __post_init__(self) -> None:
        self.started = self.stage_started = self.now()
        self._planned: dict[Stage, PlannedStage] = {}
        self._trained = self._scored = 0.0
        """Tokens and candidates of the stage that are done, read ones included."""
        self._token_s: float | None = None
        self._candidate_s: float | None = None
        self._job_since: float | None = None

    def plan(
        self, stages: Sequence[PlannedStage], part: Literal["study", "phase"] = "study"
    ) -> None:
        """Take what the study, or a phase of it, will do."""
        self.planned_part = part
        self._planned = {each.stage: each for each in stages}

    def begin(self, stage: Stage) -> None:
        """Take a stage that begins."""
        self.stage, self.stage_started = stage, self.now()
        self._trained = self._scored = 0.0
        self._job_since = None
        self.groups.clear()

    def on_trained(self, model: TrainedModel) -> None:
        """Take a model that was trained or read."""
        tokens = model.metrics.get("tokens", 0.0)
        self._trained += tokens
        group = next((group for group in self.groups if group.work.unit != "step"), None)
        if group is not None and group.has_begun and tokens:
            n_done = group.work.done + 1 - group.before  # this one is counted afterwards
            self._token_s = (self.now() - group.since) / n_done / tokens
        elif group is None and self._job_since is not None and tokens:
            self._token_s = (self.now() - self._job_since) / tokens

    def on_work_begin(self, work: Work) -> None:
        """Take work that begins; a part without a unit is a job that nobody has done before."""
        if not work.unit:
            self._job_since = self.now()
        else:
            self.groups.append(_Group(work, self.now(), work.done))
            self.groups[-1].has_begun = work.unit not in UNITS_OF_JOBS
        for group in self.groups:
            if group.work is not work and not group.has_begun:
                group.has_begun, group.since, group.before = True, self.now(), group.work.done

    def on_work_advance(self, work: Work) -> None:
        """Take a part that is done."""
        if work.unit == CANDIDATES:
            group = next((each for each in self.groups if each.work is work), None)
            self._scored += 1
            if group is not None and group.has_begun and work.done > group.before:
                self._candidate_s = (self.now() - group.since) / (work.done - group.before)

    def on_work_end(self, work: Work) -> None:
        """Take work that ends."""
        self.groups = [group for group in self.groups if group.work is not work]

    @property
    def stage_left(self) -> float | None:
        """Time until the stage ends; None if unknown."""
        groups = [left for group in self.groups if (left := self._left(group)) is not None]
        longest = groups[0] if groups else None
        planned = self._planned.get(self.stage) if self.stage is not None else None
        if planned is None or self.stage in ("base", "experts", "validation"):
            return longest  # one group is all of the stage
        tokens, candidates = planned.trained_tokens - self._trained, planned.scored - self._scored
        costs = self._cost(max(0.0, tokens), max(0.0, candidates))
        known = [left for left in (longest, costs) if left is not None]
        return max(known) if known else None

    @property
    def study_left(self) -> float | None:
        """Time until the study, or its phase, ends, as far as it is planned; None if unknown."""
        if self.stage is None or not self._planned:
            return None
        later = STAGES[STAGES.index(self.stage) + 1 :]
        rest = [self._planned[stage] for stage in later if stage in self._planned]
        tokens = float(sum(each.trained_tokens for each in rest))
        costs = self._cost(tokens, float(sum(each.scored for each in rest)))
        here = self.stage_left
        if here is None and self.stage in self._planned:
            return None
        return None if costs is None else (here or 0.0) + costs

    def _cost(self, tokens: float, candidates: float) -> float | None:
        """Return the time of tokens of training and of candidates; None if no speed is known."""
        token_s = self._token_s or self._rate_of_steps()
        if tokens and token_s is None:
            return None
        # what a candidate costs is known from the first one on; until then it counts nothing
        return tokens * (token_s or 0.0) + candidates * (self._candidate_s or 0.0)

    def _rate_of_steps(self) -> float | None:
        """Return the time of a token in the first training, while it runs: the base's."""
        planned = self._planned.get(self.stage) if self.stage is not None else None
        if self.stage != "base" or planned is None or not self.groups:
            return None
        group = self.groups[0]
        share = (group.work.done - group.before) / (group.work.total or 1)
        if share <= 0:
            return None
        return (self.now() - group.since) / share / planned.trained_tokens

    def _done(self, group: _Group) -> float:
        """Return the parts that are done, with the share of the part that is under way."""
        inner = self.groups[-1].work
        share = 0.0
        if inner is not group.work and inner.unit == "step" and inner.total:
            share = min(1.0, inner.done / inner.total)
        return group.work.done + share

    def _left(self, group: _Group) -> float | None:
        total = group.work.total
        done = self._done(group)
        if total is None or done >= total:
            return 0.0 if total is not None else None
        if done <= group.before or not group.has_begun:
            return None
        return (self.now() - group.since) / (done - group.before) * (total - done)


def describe_time(seconds: float) -> str:
    """Return a time in words of one or two units, such as `12 s`, `4 min` or `3 h 20 min`.

    Args:
        seconds: Not negative.
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} d {hours} h"
