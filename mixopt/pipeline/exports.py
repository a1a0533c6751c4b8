"""The training configs that a study asks for: checked before training, written at the end."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import ExportConfig, StudyConfig
from mixopt.config.text import TokensTextConfig
from mixopt.data.litdata_files import list_chunks
from mixopt.data.token_files import list_token_files
from mixopt.errors import ExportError, MissingPathError
from mixopt.exporters.export import check_export, export_phases
from mixopt.exporters.paths import find_splits
from mixopt.io.files import write_bytes
from mixopt.proposal import Proposal
from mixopt.schedule import Schedule

CODE_MARK = ":"
"""In a format that is a user's own code, `package.module:name`."""
FILES = "files"
"""Folder of an export's files inside its artifact."""


def check_exports(config: StudyConfig, *, run_code: bool) -> None:
    """Raise `ExportError` where an export of the study would fail for any proposal.

    Args:
        config: The study's.
        run_code: Whether formats that run the user's own code are allowed.
    """
    tokens = {phase.name: phase.tokens for phase in config.phases}
    searches = [phase.search or config.search for phase in config.phases] or [config.search]
    never = {
        domain
        for domain in config.domains
        if all(s.frozen.get(domain, s.upper.get(domain, 1.0)) == 0 for s in searches)
    }
    measured = {e.domain: 1.0 for e in config.experts if e.text is not None}
    buckets = {expert.domain for expert in config.experts if expert.bucket is not None}
    for wanted in with_known_paths(config):
        if CODE_MARK in wanted.format and not run_code:
            raise ExportError(
                f"exports: format {wanted.format!r} runs Python that the config names; pass "
                "--run-code if you trust it."
            )
        try:
            check_export(
                wanted.format,
                {domain: float(domain not in never) for domain in config.domains},
                wanted.paths,
                tokens=tokens or {"": config.target.tokens},
                tokens_per_document=measured | wanted.tokens_per_document,
                out=wanted.out,
                **wanted.options,
            )
        except MissingPathError as error:
            if error.domain in buckets:
                raise ExportError(
                    f"exports: {wanted.out!r} needs a path of {error.domain!r}, a bucket of a split "
                    "text; write the files by `mixopt buckets STUDY`, which prints the paths to give."
                ) from None
            raise


def with_known_paths(config: StudyConfig) -> list[ExportConfig]:
    """Return the exports of a study, with the paths of its tokens where an export names none.

    A domain has a path where its text is one file or folder of tokens, which the trainer reads too.

    Args:
        config: The study's.
    """
    known = {}
    for expert in config.experts:
        # of a bucket the file has documents of others too
        if isinstance(expert.text, TokensTextConfig) and expert.bucket is None:
            path = _find_trainers_path(list_token_files(expert.text))
            if path is not None:
                known[expert.domain] = str(path)
    if set(known) != set(config.domains):
        return list(config.exports)
    return [
        wanted.model_copy(update={"paths": known}) if wanted.paths is None else wanted
        for wanted in config.exports
    ]


def _find_trainers_path(files: Sequence[Path]) -> Path | None:
    """Return the path by which a trainer names the files of a domain's tokens, if there is one."""
    folder = files[0].parent
    if set(files) == set(list_chunks(folder)):  # of litdata
        return folder
    if len(files) > 1:
        return None
    # Megatron names a pair of files by what is before their endings
    return files[0].with_suffix("") if files[0].with_suffix(".idx").is_file() else files[0]


def export_artifact(wanted: ExportConfig, plan: Proposal | Schedule) -> Artifact | None:
    """Name the artifact of an export.

    Args:
        wanted: Format, file name and options.
        plan: What is exported.

    Returns:
        None for a user's own format, whose dependencies are unknown.
    """
    if CODE_MARK in wanted.format:
        return None
    name = re.sub(r"[^A-Za-z0-9_]", "_", wanted.out)
    digest = hashlib.blake2b(plan.to_json().encode(), digest_size=16).hexdigest()
    domains = plan.domains if isinstance(plan, Schedule) else tuple(plan.ratios)
    splits = find_splits(wanted.paths, domains)
    files = {"splits": splits} if splits else {}
    return Artifact("exports", name, {"plan": digest, **files, **wanted.model_dump(mode="json")})


def write_export(
    wanted: ExportConfig, plan: Proposal | Schedule, store: ArtifactStore, folder: Path
) -> list[Path]:
    """Write the files of an export into `folder`, from the store if it has them.

    Args:
        wanted: Format, file name and options.
        plan: What is exported.
        store: Where exports are kept.
        folder: Where the user finds them.

    Raises:
        ExportError: The format cannot express the plan.
    """

    def write(target: Path) -> list[Path]:
        return export_phases(
            plan, wanted.format, paths=wanted.paths, out=target / wanted.out,
            tokens_per_document=wanted.tokens_per_document, **wanted.options,
        )  # fmt: skip

    artifact = export_artifact(wanted, plan)
    if artifact is None:
        return write(folder)

    def build(scratch: Path) -> None:
        write(scratch / FILES)

    built = store.get_or_build(artifact, build)
    if not is_written(built, folder):
        for file in (built / FILES).iterdir():
            write_bytes(folder / file.name, file.read_bytes())
    return [folder / file.name for file in sorted((built / FILES).iterdir())]


def is_written(built: Path, folder: Path) -> bool:
    """Return whether `folder` holds the files of a built export, unchanged.

    Args:
        built: Folder of the export's artifact.
        folder: Where the user finds exports.
    """
    return all(
        (folder / file.name).is_file() and (folder / file.name).read_bytes() == file.read_bytes()
        for file in (built / FILES).iterdir()
    )
