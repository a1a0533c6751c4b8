"""Where text comes from, and which side of the hold-out split is read."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from mixopt.config.base import ConfigModel


class SplitTextConfig(ConfigModel):
    """Text whose documents are split into train and held-out parts by their group."""

    part: Literal["all", "train", "heldout"] = "all"
    """`train` and `heldout` are two sides of one split; no group is on both."""
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the groups that are held out; the same on both sides of a split."""


class FilesTextConfig(SplitTextConfig):
    """Local files: JSONL (also .gz and .zst), Parquet, or plain text."""

    kind: Literal["files"] = "files"
    paths: Annotated[list[str], Field(min_length=1)]
    """Files or globs, relative to the YAML."""
    field: str = "text"
    """Field or column that holds the text."""
    group: str | None = None
    """Field that names the unit of the hold-out split; else a text's own content is."""


class HubTextConfig(SplitTextConfig):
    """A dataset of the `datasets` library: a local folder it can load, or a hub name."""

    kind: Literal["huggingface"]
    path: str
    """Hub name, or a folder relative to the YAML."""
    name: str | None = None
    """Configuration of the dataset."""
    split: str = "train"
    """Split of the dataset."""
    revision: str | None = None
    """Commit, branch or tag on the hub."""
    field: str = "text"
    """Column that holds the text."""
    group: str | None = None
    """Column that names the unit of the hold-out split."""


class MachineTextConfig(SplitTextConfig):
    """Text that any machine with Python has; see `mixopt.data.machine_text`."""

    kind: Literal["machine"]
    name: str
    """One of the machine's texts, `python_source` say."""
    max_bytes: PositiveInt = 2_000_000
    """Text to take at most."""
    seed: int = 0
    """Seed of what is generated (arithmetic)."""


TextConfig = Annotated[
    FilesTextConfig | HubTextConfig | MachineTextConfig, Field(discriminator="kind")
]
