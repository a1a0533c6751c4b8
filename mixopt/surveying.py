"""Surveying: what of a study is done, running, failed and left, and why it would be done again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mixopt.errors import MixoptError
from mixopt.recipe import BuiltBase, StudyRecipe
from mixopt.runtime.journal import Failure, Journal, whole_key
from mixopt.study import Study
from mixopt.units import find_change, is_being_made

if TYPE_CHECKING:
    from mixopt.proxies.laboratory import Trained


NEEDED = {"tokenizers": "the tokenizer", "corpora": "its text", "base": "the base"}
"""What else may have to be made before."""


@dataclass(frozen=True)
class Row:
    """One piece of a study.

    Attributes:
        what: `expert web`, `candidates`, ...
        state: `done`, `running`, `failed` or `left`.
        seconds: That it took, where it is done.
        n_bytes: That it takes on disk.
        why: Why it is not done, where that is more than that it was not begun.
    """

    what: str
    state: str
    seconds: float = 0.0
    n_bytes: int = 0
    why: str = ""


class _NotMadeError(Exception):
    """A unit that would be made now."""

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        super().__init__(folder.name)
        self.folder, self.key = folder, key


class _DryJournal(Journal):
    """Finds units and makes none."""

    def make(
        self, kind: str, name: str, key: Mapping[str, Any], build: Callable[[Path], None]
    ) -> Path:
        found = self.find(kind, name, key)
        if found is None:
            raise _NotMadeError(self.place(kind, name, key), whole_key(kind, key))
        return found


def survey(study: Study) -> list[Row]:
    """What of `study` is done and what is not, in the order of the road; nothing is made.

    Raises:
        DataError: Its text cannot be read.
    """
    if study.recipe.phases:
        return _survey_phases(study)
    journal, cache = _DryJournal(study.journal.folder), _DryJournal(study.cache)
    lab = study.site.open_laboratory(study.recipe, journals=(journal, cache))
    asked: list[_Asked] = []
    if isinstance(study.recipe.base, BuiltBase):
        asked.append(_Asked("tokenizer", journal, "tokenizers", "bpe", lambda: lab.tokenizer))
    for expert in study.recipe.experts:
        if expert.text is not None:
            name = expert.domain
            step = partial(lab.texts.open, name)
            asked.append(_Asked(f"text {name}", cache, "corpora", name, step))
    if isinstance(study.recipe.base, BuiltBase):
        asked.append(_Asked("base", journal, "base", "base", lambda: lab.base))
    experts = list(study.recipe.training.compositions or study.recipe.domains)
    for name in experts:
        train = partial(lab.train_expert, name)
        asked.append(_Asked(f"expert {name}", journal, "experts", name, train))
    rows, folders = [], []
    for one in asked:
        row, found = _look(one)
        rows.append(row)
        if one.kind == "experts" and found is not None:
            folders.append(found.folder)
    rows += _count(study, journal, lab.expert_keys(folders) if len(folders) > 1 else None)
    looked = {(one.kind, one.name) for one in asked}
    rows += [
        Row(f"{failure.kind} {failure.name}", "failed", why=_tell(failure))
        for failure in journal.failures()
        if (failure.kind, failure.name) not in looked
    ]
    return rows


def _survey_phases(study: Study) -> list[Row]:
    """The phases that were begun, by the recipes that they were begun with, and those that were not."""
    rows = []
    for phase in study.recipe.phases:
        output = study.output / "phases" / phase.name
        try:
            plain = yaml.safe_load((output / "recipe.yaml").read_text(encoding="utf-8"))
            recipe = StudyRecipe.model_validate(plain)
        except (OSError, ValueError, yaml.YAMLError):
            rows.append(Row(f"phase {phase.name}", "left"))
            continue
        own = Study(recipe, output, cache=study.cache, device=study.device, run_code=study.run_code)
        rows += [replace(row, what=f"{phase.name}: {row.what}") for row in survey(own)]
    made = (study.output / "schedule.json").is_file()
    return [*rows, Row("schedule.json", "done" if made else "left")]


@dataclass(frozen=True)
class _Asked:
    """A unit to look for: what a reader calls it, where it would lie, and what finds it."""

    what: str
    journal: Journal
    kind: str
    name: str
    step: Callable[[], Any]


def _look(asked: _Asked) -> tuple[Row, "Trained | None"]:
    try:
        found = asked.step()
    except _NotMadeError as missing:
        return _tell_missing(asked, missing), None
    except MixoptError as error:
        return Row(asked.what, "failed", why=str(error)), None
    units = [u for u in asked.journal.units(asked.kind) if u.name == asked.name]
    latest = max(units, key=lambda unit: unit.folder.stat().st_mtime, default=None)
    cost = (latest.seconds, latest.n_bytes) if latest else (0.0, 0)
    return Row(asked.what, "done", *cost), found if asked.kind == "experts" else None


def _tell_missing(asked: _Asked, missing: _NotMadeError) -> Row:
    if missing.folder.parent != asked.journal.folder / asked.kind:
        return Row(
            asked.what, "left", why=f"needs {NEEDED.get(missing.folder.parent.name, '')} first"
        )
    if is_being_made(missing.folder):
        return Row(asked.what, "running")
    for failure in asked.journal.failures():
        if (failure.kind, failure.folder) == (asked.kind, missing.folder.name):
            return Row(asked.what, "failed", why=_tell(failure))
    change = find_change(missing.folder, missing.key)
    return Row(asked.what, "left", why=f"made before, and {change}" if change else "")


def _tell(failure: Failure) -> str:
    return f"{failure.cause} (tried {failure.times} times)"


def _count(study: Study, journal: Journal, experts: list[str] | None) -> list[Row]:
    """Candidates and proxy runs: counted, since which they are depends on what was learnt before."""
    rows = []
    wanted = sum(study.recipe.search.rounds)
    scored = [
        unit
        for kind in ("scores", "estimates")
        for unit in journal.units(kind)
        if experts and unit.key.get("experts") == experts
    ]
    # merges of comparisons and of experts alone are scored too, so the number alone proves nothing
    searched = len(scored) >= wanted and (study.output / "trials.csv").is_file()
    rows.append(
        Row("candidates", "done" if searched else "left", sum(u.seconds for u in scored),
            sum(u.n_bytes for u in scored), f"{len(scored)} merges scored; the rounds ask for {wanted}")
    )  # fmt: skip
    validation = study.recipe.validation
    if validation is not None:
        training = study.recipe.training.model_dump(mode="json")
        runs = [u for u in journal.units("proxy-runs") if u.key.get("training") == training]
        asked = validation.mixtures * validation.seeds
        state = "done" if len(runs) >= asked else "left"
        rows.append(
            Row("proxy runs", state, sum(u.seconds for u in runs), sum(u.n_bytes for u in runs),
                f"{len(runs)} trained; the validation asks for {asked}")
        )  # fmt: skip
    for name in ("proposal.json", "report.html"):
        made = (study.output / name).is_file()
        rows.append(Row(name, "done" if made else "left"))
    return rows
