"""Rows of a study's status: a text, a model or an export, as the store has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixopt.artifacts.artifact import Artifact, ArtifactRecord
from mixopt.artifacts.store import ArtifactStore, MissingArtifactError
from mixopt.config.study import ExportConfig
from mixopt.errors import MixoptError
from mixopt.pipeline.exports import export_artifact, is_written
from mixopt.proposal import Proposal
from mixopt.schedule import Schedule

if TYPE_CHECKING:
    from mixopt.study import Study

NEEDED = {
    "tokenizers": "the tokenizer",
    "corpora": "its text",
    "base": "the base",
    "bases": "the base of the phase",
    "dequantized": "the weights of a GGUF file",
    "experts": "the experts",
    "engines": "the sizes of base and experts",
    "logprobs": "the scores of single experts",
    "scores": "the scores of other candidates",
    "text-samples": "the samples of text",
    "text-distances": "the distances of text",
    "fits": "a fit of the scores",
    "proposals": "the proposals",
    "proxy-runs": "the proxy runs",
    "runs": "trained runs of mixtures",
    "online": "the training of the method",
}
"""What has to be built before, by kind of artifact."""


@dataclass(frozen=True)
class StatusRow:
    """One part of a study.

    Attributes:
        what: `expert web`, `round 1`, ...
        state: `done`, `running`, `failed` or `left`.
        seconds: Time that it took, as far as it is done.
        n_bytes: Size on disk.
        why: Why it is not done, unless it was simply not begun.
    """

    what: str
    state: str
    seconds: float = 0.0
    n_bytes: int = 0
    why: str = ""


def model_row(
    what: str, store: ArtifactStore, name_artifact: Callable[[], Artifact | None]
) -> StatusRow:
    """Return the row of a text or a model.

    Args:
        what: Name of the row.
        store: Where it is kept.
        name_artifact: Returns what it is called there; None for a model that was given.
    """
    try:
        artifact = name_artifact()
    except MissingArtifactError as missing:
        return StatusRow(what, "left", why=needs(missing.artifact))
    except MixoptError as error:
        return StatusRow(what, "failed", why=str(error))
    if artifact is None:  # a given expert
        return StatusRow(what, "done")
    state = store.state(artifact)
    if state == "done":
        return StatusRow(what, "done", *sum_costs([store.record(artifact)]))
    if state == "running":
        return StatusRow(what, "running")
    failure = store.failure(artifact)
    if failure is not None:
        why = f"{failure.cause} (tried {failure.times} times)"
        return StatusRow(what, "failed", why=why)
    change = store.explain_rebuild(artifact)
    return StatusRow(what, "left", why=f"built before, and {change}" if change else "")


def export_row(study: "Study", wanted: ExportConfig, plan: Proposal | Schedule) -> StatusRow:
    """Return the row of one export.

    Args:
        study: Its folder is read.
        wanted: The export.
        plan: What it would be written for.
    """
    what, folder = f"export {wanted.out}", study.output / "exports"
    store = ArtifactStore(study.environment.store, read_only=True)
    artifact = export_artifact(wanted, plan)
    if artifact is None:
        exists = (folder / wanted.out).is_file()
        why = "of your own format: always written"
        return StatusRow(what, "done" if exists else "left", why=why)
    built = store.find(artifact)
    if built is None:
        change = store.explain_rebuild(artifact)
        return StatusRow(what, "left", why=f"built before, and {change}" if change else "")
    state = "done" if is_written(built, folder) else "left"
    return StatusRow(what, state, *sum_costs([store.record(artifact)]))


def needs(artifact: Artifact) -> str:
    """Return why a part is left that an artifact has to be built for first.

    Args:
        artifact: What is missing.
    """
    return f"needs {NEEDED.get(artifact.kind, artifact.kind)} first"


def sum_costs(records: Sequence[ArtifactRecord | None]) -> tuple[float, int]:
    """Return seconds and bytes of artifacts, None for those that are not done.

    Args:
        records: Of the artifacts.
    """
    done = [record for record in records if record is not None]
    return sum(record.seconds for record in done), sum(record.n_bytes for record in done)
