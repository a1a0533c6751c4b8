"""Delivering: the training configs that a recipe asks for, tried early and written at the end."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.study import ExportConfig, StudyConfig
from mixopt.errors import ExportError
from mixopt.exporters.export import check_export, export_phases
from mixopt.io.files import write_bytes
from mixopt.proposal import Proposal
from mixopt.schedule import Schedule

KIND, FILES = "exports", "files"


def check_exports(recipe: StudyConfig, *, run_code: bool) -> None:
    """Raises `ExportError` where an export that the recipe asks for would fail for any proposal."""
    tokens = {phase.name: phase.tokens for phase in recipe.phases}
    searches = [phase.search or recipe.search for phase in recipe.phases] or [recipe.search]
    never = {
        domain
        for domain in recipe.domains
        if all(s.frozen.get(domain, s.upper.get(domain, 1.0)) == 0 for s in searches)
    }
    measured = {e.domain: 1.0 for e in recipe.experts if e.text is not None}
    for wanted in recipe.exports:
        if _is_foreign(wanted) and not run_code:
            raise ExportError(
                f"exports: format {wanted.format!r} runs Python that the recipe names; pass "
                "--run-code if you trust it."
            )
        check_export(
            wanted.format,
            {domain: float(domain not in never) for domain in recipe.domains},
            wanted.paths,
            tokens=tokens or {"": recipe.target.tokens},
            tokens_per_document=measured | wanted.tokens_per_document,
            out=wanted.out,
            **wanted.options,
        )


@dataclass(frozen=True)
class Delivery:
    """One export of a plan.

    Attributes:
        wanted: What the recipe says of it.
        plan: What is exported.
    """

    wanted: ExportConfig
    plan: Proposal | Schedule

    @property
    def unit(self) -> tuple[str, str, dict[str, Any]] | None:
        """Kind, name and key of its unit; None where nobody knows what a format depends on."""
        if _is_foreign(self.wanted):
            return None
        name = re.sub(r"[^A-Za-z0-9_]", "_", self.wanted.out)
        plan = hashlib.blake2b(self.plan.to_json().encode(), digest_size=16).hexdigest()
        return KIND, name, {"plan": plan, **self.wanted.model_dump(mode="json")}

    def deliver(self, store: ArtifactStore, folder: Path) -> list[Path]:
        """The files, in `folder` now: found in the store, or written."""
        if self.unit is None:
            return self._write(folder)

        def build(scratch: Path) -> None:
            self._write(scratch / FILES)

        unit = store.make(*self.unit, build)
        if not self.is_in(folder, unit):
            for file in (unit / FILES).iterdir():
                write_bytes(folder / file.name, file.read_bytes())
        return [folder / file.name for file in sorted((unit / FILES).iterdir())]

    def is_in(self, folder: Path, unit: Path) -> bool:
        """Whether the files of its unit lie in `folder`, as they were written."""
        return all(
            (folder / file.name).is_file()
            and (folder / file.name).read_bytes() == file.read_bytes()
            for file in (unit / FILES).iterdir()
        )

    def _write(self, folder: Path) -> list[Path]:
        wanted = self.wanted
        return export_phases(
            self.plan, wanted.format, paths=wanted.paths, out=folder / wanted.out,
            tokens_per_document=wanted.tokens_per_document, **wanted.options,
        )  # fmt: skip


def _is_foreign(wanted: ExportConfig) -> bool:
    """Whether the format is somebody's own code."""
    return ":" in wanted.format
