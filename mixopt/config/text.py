"""Sources of text, and the side of the held-out split to read."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PositiveInt, SerializerFunctionWrapHandler, model_serializer

from mixopt.config.base import ConfigModel, TokenCount

Conditions: TypeAlias = dict[str, str | bool | int | float | list[str | bool | int | float]]
"""Value, or list of allowed values, by field."""
TextFields: TypeAlias = str | Annotated[list[str], Field(min_length=1)]
"""A field, or several that are joined (`[instruction, input, output]`)."""


class SplitTextConfig(ConfigModel):
    """Text whose documents are split by group into a train and a held-out part."""

    part: Literal["all", "train", "heldout"] = "all"
    """Side of the split to read; no group is on both sides."""
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the groups that are held out; give both sides the same."""


class RecordTextConfig(SplitTextConfig):
    """Text whose documents may be records with fields; `meta.source` names a field of a field."""

    where: Conditions | None = None
    """Records to read: value, or list of values, by field (`{meta.source: web}`); all if left out."""
    tokens: TokenCount | Literal["all"] | None = None
    """Tokens to read of a larger text, by a sample spread over all of it, or `all`; if left out, as many
    as the study can use."""
    value_field: str | None = None
    """Field whose value a `split` of the text reads, which sets it."""

    @model_serializer(mode="wrap")
    def _omit_unused_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # keys of artifacts hash this form, and those of texts without these fields must not change
        plain: dict[str, Any] = handler(self)
        for name in ("where", "tokens", "value_field"):
            if plain.get(name, 0) is None:
                del plain[name]
        return plain


class FilesTextConfig(RecordTextConfig):
    """Files: JSON lines or arrays, CSV, TSV (these also .gz, .zst), Parquet, or plain text."""

    kind: Literal["files"] = "files"
    paths: Annotated[list[str], Field(min_length=1)]
    """Files or globs, relative to the YAML, or URLs that fsspec reads (`s3://`, `gs://`, `hf://`)."""
    field: TextFields = "text"
    """Field or column that holds the text, or a list of chat messages; several are joined in order."""
    group: str | None = None
    """Field with the group of a document; each distinct text is its own group if left out or empty."""


class HubTextConfig(RecordTextConfig):
    """A dataset of the `datasets` library: a local folder it can load, or a hub name."""

    kind: Literal["huggingface"]
    path: str
    """Name on the Hugging Face hub, or a folder relative to the YAML."""
    name: str | None = None
    """Configuration of the dataset."""
    split: str = "train"
    """Split of the dataset."""
    revision: str | None = None
    """Commit, branch or tag on the hub."""
    field: TextFields = "text"
    """Column that holds the text, or a list of chat messages; several are joined in order."""
    group: str | None = None
    """Column with the group of a document; each distinct text is its own group if left out or empty."""


class TokensTextConfig(SplitTextConfig):
    """Text that is tokenized already, by the base's tokenizer."""

    kind: Literal["tokens"]
    paths: Annotated[list[str], Field(min_length=1)]
    """Files, prefixes of `.bin` and `.idx`, folders of litdata's, or globs, relative to the YAML."""
    format: Literal["megatron", "olmo", "datatrove", "litdata"] | None = None
    """Megatron's `.bin` and `.idx`, OLMo's `.npy` (with a header or without), datatrove's and nanotron's
    `.ds`, a folder of litdata's; recognized from the files if left out."""
    tokenizer: Annotated[str, Field(min_length=1)]
    """Folder or hub id of the tokenizer that made the tokens."""
    dtype: Literal["uint16", "uint32"] | None = None
    """Type of a token in `.npy` and `.ds` files; recognized from the values if left out."""
    tokens: TokenCount | Literal["all"] | None = None
    """Tokens to read, as for files."""

    @model_serializer(mode="wrap")
    def _omit_limit(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        if plain.get("tokens", 0) is None:
            del plain["tokens"]
        return plain


class MachineTextConfig(SplitTextConfig):
    """Text from the local Python installation; see `mixopt.data.machine_text`."""

    kind: Literal["machine"]
    name: str
    """One of the texts of `mixopt.data.machine_text`, such as `python_source`."""
    max_bytes: PositiveInt = 2_000_000
    """Bytes to read at most."""
    seed: int = 0
    """Seed of generated text (arithmetic)."""


TextConfig = Annotated[
    FilesTextConfig | HubTextConfig | TokensTextConfig | MachineTextConfig,
    Field(discriminator="kind"),
]
