"""What of a study with phases is done and left: each phase as a run would search it now."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mixopt.artifacts.store import MissingArtifactError
from mixopt.errors import MixoptError
from mixopt.pipeline.exports import with_known_paths
from mixopt.pipeline.phases import PhaseConfigs, base_config, find_least_repetition, plan_base
from mixopt.pipeline.status import StageWalk
from mixopt.pipeline.status_rows import StatusRow, export_row, model_row, needs

if TYPE_CHECKING:
    from mixopt.config.study import PhaseConfig
    from mixopt.proposal import Proposal
    from mixopt.study import Study


def phases_status(study: "Study") -> list[StatusRow]:
    """Return what of `study` is done and what is not, phase by phase; build nothing.

    A phase depends on what earlier ones proposed, so that the first without a proposal ends the walk.

    Args:
        study: With phases; its folder and cache are read, and nothing is written.

    Returns:
        The rows of each phase's study, a row for each base that is continued, the schedule and exports.

    Raises:
        DataError: Its text cannot be read.
    """
    return list(_PhaseWalk(study).rows())


class _PhaseWalk:
    def __init__(self, study: "Study") -> None:
        self._study = study
        self._why = ""
        """Why the phases that are left cannot be looked at."""

    def rows(self) -> Iterator[StatusRow]:
        configs = PhaseConfigs(self._study.config, self._least())
        for phase in self._study.config.phases:
            if self._why:
                yield StatusRow(f"phase {phase.name}", "left", why=self._why)
            else:
                yield from self._phase(configs)
        yield from self._schedule(configs)

    def _least(self) -> dict[str, Counter[str]]:
        config = self._study.config
        first = self._walk(PhaseConfigs(config, {}))
        try:
            return find_least_repetition(config, first.context)
        except MissingArtifactError:  # only what comes before the search can be looked at
            return {}
        except MixoptError as error:
            self._why = str(error)
            return {}

    def _walk(self, configs: PhaseConfigs) -> StageWalk:
        return StageWalk(self._study.of_phase(configs.next(), configs.left[0].name))

    def _phase(self, configs: PhaseConfigs) -> Iterator[StatusRow]:
        """Yield the rows of the next phase, and finish it where it has a proposal."""
        name, walk = configs.left[0].name, self._walk(configs)
        for row in walk.rows():
            yield replace(row, what=f"{name}: {row.what}")
        if walk.answer is None:
            self._why = f"needs the proposal of phase {name} first"
            return
        later = configs.finish(walk.answer)
        if later is not None:
            yield self._base(configs, walk, walk.answer, later)

    def _base(
        self, configs: PhaseConfigs, walk: StageWalk, proposal: "Proposal", later: "PhaseConfig"
    ) -> StatusRow:
        run = plan_base(walk.context, proposal, later, configs.index)
        store = walk.context.store
        row = model_row(f"{later.name}: base", store, lambda: run.artifact)
        folder = store.find(run.artifact)
        if folder is None:
            self._why = needs(run.artifact)
        else:
            configs.base = base_config(walk.context, folder)
        return row

    def _schedule(self, configs: PhaseConfigs) -> Iterator[StatusRow]:
        """Yield the schedule and its exports, which are done where they have the phases' proposals."""
        study, file = self._study, self._study.output / "schedule.json"
        schedule = None if configs.left else configs.schedule
        text = file.read_bytes() if file.is_file() else b""
        if schedule is None or text != schedule.to_json().encode():
            yield StatusRow("schedule.json", "left")
            for wanted in study.config.exports:
                yield StatusRow(f"export {wanted.out}", "left")
            return
        yield StatusRow("schedule.json", "done")
        for wanted in with_known_paths(study.config):
            yield export_row(study, wanted, schedule)
