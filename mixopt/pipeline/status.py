"""Surveying: what of a study is done, running, failed and left, and why it would be done again.

The road is rehearsed: what is done is what a run would find, and the first thing that it would make is
where the walk ends.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import yaml

from mixopt.artifacts.artifact import Unit, find_change, is_being_made, tell_changes
from mixopt.artifacts.store import ArtifactStore, Failure, whole_key
from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.study import StudyConfig
from mixopt.config.training import BuiltBaseConfig
from mixopt.errors import MixoptError
from mixopt.io.parsing import load_json
from mixopt.mixture import Mixture
from mixopt.pipeline.dry_run import DryFoundation, NotMadeError
from mixopt.pipeline.exports import Delivery
from mixopt.pipeline.propose import Recommender
from mixopt.pipeline.surrogate_policy import SurrogatePolicy
from mixopt.pipeline.validate import Validator
from mixopt.proposal import Proposal
from mixopt.schedule import Schedule
from mixopt.study import Study
from mixopt.trials import Trials

NEEDED = {
    "tokenizers": "the tokenizer",
    "corpora": "its text",
    "base": "the base",
    "experts": "the experts",
    "engines": "a look at base and experts",
    "logprobs": "the experts alone",
    "scores": "the scores of others",
    "fits": "a fit of the scores",
    "proposals": "the proposals",
    "proxy-runs": "the proxy runs",
}
"""What else may have to be made before, by kind."""


@dataclass(frozen=True)
class Row:
    """One piece of a study.

    Attributes:
        what: `expert web`, `round 1`, ...
        state: `done`, `running`, `failed` or `left`.
        seconds: That it took, as far as it is done.
        n_bytes: That it takes on disk.
        why: Why it is not done, where that is more than that it was not begun.
    """

    what: str
    state: str
    seconds: float = 0.0
    n_bytes: int = 0
    why: str = ""


def survey(study: Study) -> list[Row]:
    """What of `study` is done and what is not, in the order of the road; nothing is made.

    Raises:
        DataError: Its text cannot be read.
    """
    if study.recipe.phases:
        return _survey_phases(study)
    return list(_Walk(study).rows())


def _survey_phases(study: Study) -> list[Row]:
    """The phases that were begun, by the recipes that they were begun with, and those that were not."""
    rows = []
    for phase in study.recipe.phases:
        output = study.output / "phases" / phase.name
        try:
            plain = yaml.safe_load((output / "recipe.yaml").read_text(encoding="utf-8"))
            recipe = StudyConfig.model_validate(plain)
        except (OSError, ValueError, yaml.YAMLError):
            rows.append(Row(f"phase {phase.name}", "left"))
            continue
        own = Study(recipe, output, cache=study.cache, device=study.device, run_code=study.run_code)
        rows += [replace(row, what=f"{phase.name}: {row.what}") for row in survey(own)]
    return [*rows, *_look_at_schedule(study)]


def _look_at_schedule(study: Study) -> Iterator[Row]:
    """The schedule that was written last, and its exports."""
    try:
        told = (study.output / "schedule.json").read_text(encoding="utf-8")
        schedule = Schedule.from_dict(load_json(told))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or none of ours
        yield Row("schedule.json", "left")
        yield from (Row(f"export {wanted.out}", "left") for wanted in study.recipe.exports)
        return
    yield Row("schedule.json", "done")
    for wanted in study.recipe.exports:
        yield _look_at_export(study, Delivery(wanted, schedule))


@dataclass(frozen=True)
class _Asked:
    """A unit to look for: what a reader calls it, where it would lie, and what finds it."""

    what: str
    journal: ArtifactStore
    kind: str
    name: str
    step: Callable[[], Any]


class _Walk:
    """Walks the road of one study."""

    def __init__(self, study: Study) -> None:
        self._study, self._recipe, self._output = study, study.recipe, study.output
        self._journal = ArtifactStore(study.journal.folder)
        callbacks = CallbackList(study.recipe, None)
        self._ground = DryFoundation(study.recipe, study.site, callbacks)
        self._looked: set[tuple[str, str]] = set()

    def rows(self) -> Iterator[Row]:
        """All pieces, in the order of the road."""
        rows = [self._look(one) for one in self._trained()]
        yield from rows
        yield from self._stop_where_it_ends(self._searched, self._later())
        for failure in self._journal.failures():
            if (failure.kind, failure.name) not in self._looked:
                yield Row(f"{failure.kind} {failure.name}", "failed", why=_tell(failure))

    def _stop_where_it_ends(
        self, walk: Callable[[], Iterator[Row]], names: Sequence[str]
    ) -> Iterator[Row]:
        """The rows of `walk`; where it meets what would be made, all later ones are left."""
        told: list[str] = []
        why = ""
        try:
            for row in walk():
                told.append(row.what)
                yield row
        except NotMadeError as missing:
            change = find_change(missing.folder, missing.key)
            why = f"needs {NEEDED.get(missing.kind, missing.kind)} first"
            why += f": {change}" if change else ""
        except MixoptError as error:
            why = str(error)
        for name in names:
            if name not in told:
                yield Row(name, "left", why=why)

    def _later(self) -> list[str]:
        """What comes after the experts, by name."""
        rounds = [f"round {number}" for number in range(1, len(self._recipe.search.rounds) + 1)]
        validated = self._recipe.validation is not None
        first = ["first proposal", "proxy runs"] if validated else []
        exports = [f"export {wanted.out}" for wanted in self._recipe.exports]
        return [*rounds, *first, "proposal", *exports, "report.html"]

    # --- texts and models ---

    def _trained(self) -> Iterator[_Asked]:
        lab, journal, cache = (
            self._ground.laboratory,
            self._journal,
            ArtifactStore(self._study.cache),
        )
        built = isinstance(self._recipe.base, BuiltBaseConfig)
        if built:
            yield _Asked("tokenizer", journal, "tokenizers", "bpe", lambda: lab.tokenizer)
        for expert in self._recipe.experts:
            if expert.text is not None:
                step = partial(lab.texts.open, expert.domain)
                yield _Asked(f"text {expert.domain}", cache, "corpora", expert.domain, step)
        if built:
            yield _Asked("base", journal, "base", "base", lambda: lab.base)
        for name in self._recipe.training.compositions or self._recipe.domains:
            yield _Asked(
                f"expert {name}", journal, "experts", name, partial(lab.train_expert, name)
            )

    def _look(self, asked: _Asked) -> Row:
        self._looked.add((asked.kind, asked.name))
        try:
            asked.step()
        except NotMadeError as missing:
            return self._tell_missing(asked, missing)
        except MixoptError as error:
            return Row(asked.what, "failed", why=str(error))
        units = [u for u in asked.journal.units(asked.kind) if u.name == asked.name]
        latest = max(units, key=lambda unit: unit.folder.stat().st_mtime, default=None)
        return Row(asked.what, "done", *_cost([latest] if latest else []))

    def _tell_missing(self, asked: _Asked, missing: NotMadeError) -> Row:
        if missing.folder.parent != asked.journal.folder / asked.kind:
            return Row(asked.what, "left", why=f"needs {NEEDED.get(missing.kind, '')} first")
        if is_being_made(missing.folder):
            return Row(asked.what, "running")
        failure = self._ground.hands.failure_of(missing)
        if failure is not None:
            return Row(asked.what, "failed", why=_tell(failure))
        change = find_change(missing.folder, missing.key)
        return Row(asked.what, "left", why=f"made before, and {change}" if change else "")

    # --- search, validation, exports ---

    def _searched(self) -> Iterator[Row]:
        ground = self._ground
        trials = ground.searcher.no_trials
        for number, count in enumerate(self._recipe.search.rounds, start=1):
            row, trials = self._look_at_round(number, count, trials)
            yield row
            if row.state in ("left", "running"):
                return
        learner = ground.learner
        if self._recipe.validation is not None:
            row, first = self._look_at_proposals("first proposal", learner, trials)
            yield row
            if not first:
                return
            row, heard = self._look_at_proxy_runs(first[0], trials, learner)
            yield row
            if heard is None:
                return
            learner = heard
        row, proposals = self._look_at_proposals("proposal", learner, trials)
        current = bool(proposals) and self._is_current(proposals[0])
        yield row if current or not proposals else replace(row, state="left")
        for wanted in self._recipe.exports if proposals else ():
            yield _look_at_export(self._study, Delivery(wanted, proposals[0]))
        if proposals:
            yield Row("report.html", "done" if current and self._is_reported() else "left")

    def _look_at_round(self, number: int, count: int, before: Trials) -> tuple[Row, Trials]:
        """A round of candidates, and the trials with it where none would be scored now."""
        from mixopt.evaluation.score_cache import as_row

        searcher, learner, crew = self._ground.searcher, self._ground.learner, self._ground.hands
        fitted, trust = partial(learner.fit, before), learner.trust(before)
        chosen = searcher.choose(number, count, before, fitted, trust)
        book = crew.book = chosen.scorer.book
        told = [as_row(searcher.swarm.respond(row)) for row in chosen.rows.tolist()]
        lacking = [crew.unit_of_row(row) for row in told if book.find(row) is None]
        units = [Unit.read(crew.unit_of_row(row).folder) for row in told]
        row = Row(f"round {number}", "done", *_cost([u for u in units if u is not None]),
                  f"{len(told) - len(lacking)} of {len(told)} candidates scored")  # fmt: skip
        fresh = [missing for missing in lacking if crew.failure_of(missing) is None]
        if any(is_being_made(missing.folder) for missing in lacking):
            return replace(row, state="running"), before
        if fresh:
            change = self._tell_rescored(fresh[0])
            return replace(row, state="left", why=f"{row.why}{change}"), before
        trials = before + searcher.score(chosen)
        return replace(row, state="failed" if lacking else "done"), trials

    def _tell_rescored(self, missing: NotMadeError) -> str:
        """What determines all scores and was another when the last candidate was scored."""
        kept = list(self._journal.list_kind(missing.kind))
        latest = max(kept, key=lambda folder: folder.stat().st_mtime, default=None)
        unit = None if latest is None else Unit.read(latest)
        if unit is None:
            return ""
        changes = tell_changes(
            {k: v for k, v in unit.key.items() if k != "weights"},
            {k: v for k, v in missing.key.items() if k != "weights"},
        )
        return f"; {changes}" if changes else ""

    def _look_at_proposals(
        self, what: str, learner: SurrogatePolicy, trials: Trials
    ) -> tuple[Row, list[Proposal]]:
        recommender = Recommender(self._ground, learner)
        folder = self._journal.find(*recommender.unit(trials))
        if folder is None:
            return Row(what, "left"), []
        unit = Unit.read(folder)
        return Row(what, "done", *_cost([unit] if unit else [])), recommender.recommend(trials)

    def _look_at_proxy_runs(
        self, proposal: Proposal, trials: Trials, learner: SurrogatePolicy
    ) -> tuple[Row, SurrogatePolicy | None]:
        """The proxy runs, and who has heard them where none would be trained now."""
        crew, lab = self._ground.hands, self._ground.laboratory
        validator = Validator.of(self._ground, crew)
        units: list[Unit | None] = []
        left: list[NotMadeError] = []
        told: dict[str, str] = {}
        jobs = validator.list_jobs(validator.choose_mixtures(proposal))
        for job in jobs:
            name, ratios, seed = job.arguments
            mixture = name.removesuffix(f"-{seed}")
            try:
                units.append(Unit.read(lab.train_proxy_run(name, Mixture(ratios), seed)[0].folder))
            except NotMadeError as missing:
                failure = crew.failure_of(missing)
                if failure is not None:
                    told[mixture] = _tell(failure)
                elif mixture not in told:  # one that failed is left out with all its seeds
                    left.append(missing)
        row = Row("proxy runs", "done", *_cost([u for u in units if u is not None]),
                  f"{len(units)} of {len(jobs)} trained")  # fmt: skip
        self._looked |= {("proxy-runs", job.arguments[0]) for job in jobs}
        if left:
            running = any(is_being_made(missing.folder) for missing in left)
            return replace(row, state="running" if running else "left"), None
        heard = learner.hear(*validator.validate(proposal, trials, learner))
        if told:
            row = replace(row, state="failed", why=f"{row.why}; {next(iter(told.values()))}")
        return row, heard

    def _is_current(self, proposal: Proposal) -> bool:
        file = self._output / "proposal.json"
        return file.is_file() and file.read_text(encoding="utf-8") == proposal.to_json()

    def _is_reported(self) -> bool:
        """Whether the report was written after the proposal."""
        report, proposal = self._output / "report.html", self._output / "proposal.json"
        return report.is_file() and report.stat().st_mtime_ns >= proposal.stat().st_mtime_ns


def _look_at_export(study: Study, delivery: Delivery) -> Row:
    what, folder = f"export {delivery.wanted.out}", study.output / "exports"
    if delivery.unit is None:
        there = (folder / delivery.wanted.out).is_file()
        return Row(what, "done" if there else "left", why="of your own format: always written")
    place = study.journal.place(*delivery.unit)
    unit = None if study.journal.find(*delivery.unit) is None else Unit.read(place)
    if unit is None:
        change = find_change(place, whole_key(delivery.unit[0], delivery.unit[2]))
        return Row(what, "left", why=f"made before, and {change}" if change else "")
    return Row(what, "done" if delivery.is_in(folder, place) else "left", *_cost([unit]))


def _cost(units: Sequence[Unit]) -> tuple[float, int]:
    return sum(unit.seconds for unit in units), sum(unit.n_bytes for unit in units)


def _tell(failure: Failure) -> str:
    return f"{failure.cause} (tried {failure.times} times)"
