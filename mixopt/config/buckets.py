"""The split of a text into buckets, which are domains of their own."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mixopt.config.base import ConfigModel, DomainName, Share
from mixopt.mixture import HIERARCHY_MARK

BUCKET_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""A value of a field that can be part of a domain's name."""


class TextSplitConfig(ConfigModel):
    """How the documents of a text become buckets: `web` becomes `web:q1`, `web:q2`, ..."""

    by: Literal["perplexity", "length", "field"]
    """The value of a document: perplexity of its beginning under `reference`, characters, or a field."""
    field: str | None = None
    """Field with the value, for `by: field`; `meta.score` names a field of a field."""
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] = []
    """Shares of the documents at which buckets end, increasing: [.25, .5, .75] makes `q1` to `q4`, of
    the lowest values first."""
    values: list[str] = []
    """Values of a field that is a category: a bucket for each, named by it."""
    keep: Annotated[float, Field(gt=0, lt=1)] | tuple[Share, Share] | None = None
    """Documents to keep before they are split: the share with the lowest values (POINTS: .2), or from
    which quantile to which ([.1, .9]); all if left out."""
    reference: Annotated[str, Field(min_length=1)] | None = None
    """Model whose perplexity counts, a folder relative to the YAML or a hub id; a pretrained base of the
    study if left out."""

    @model_serializer(mode="wrap")
    def _omit_unused_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # the form is part of the keys of corpora, and a new field must not change them
        plain: dict[str, Any] = handler(self)
        return {name: value for name, value in plain.items() if value not in (None, [])}

    @model_validator(mode="after")
    def _settings_go_together(self) -> "TextSplitConfig":
        if (self.by == "field") != (self.field is not None):
            raise ValueError("`field` names the field of `by: field`; give both, or none")
        if self.values and (self.by != "field" or self.quantiles or self.keep is not None):
            raise ValueError(
                "`values` are the categories of a field; they go with `by: field` alone, without "
                "quantiles and keep"
            )
        if self.reference is not None and self.by != "perplexity":
            raise ValueError("`reference` is the model of `by: perplexity`; leave it out")
        if not self.quantiles and not self.values and self.keep is None:
            more = ", or the values of a category (values: [a, b])" * (self.by == "field")
            raise ValueError(f"give quantiles, such as [0.25, 0.5, 0.75]{more}")
        if any(b <= a for a, b in zip(self.quantiles, self.quantiles[1:], strict=False)):
            raise ValueError(
                f"quantiles {self.quantiles} must increase, each above the one before; sort them"
            )
        if isinstance(self.keep, tuple) and not self.keep[0] < self.keep[1]:
            raise ValueError(f"keep {list(self.keep)} must go from a quantile to a higher one")
        if len(set(self.values)) < len(self.values):
            raise ValueError("values names a value twice; name each once")
        for value in self.values:
            if not BUCKET_NAME.fullmatch(value):
                raise ValueError(
                    f"the value {value!r} cannot be part of a domain's name (letters, digits, _ and -); "
                    "rename it in the data"
                )
        return self

    @property
    def names(self) -> list[str]:
        """Names of the buckets; one empty name where documents are only left out."""
        if self.values:
            return list(self.values)
        if not self.quantiles:
            return [""]
        return [f"q{number}" for number in range(1, len(self.quantiles) + 2)]


class BucketConfig(ConfigModel):
    """What bucket of which text a domain is; `split` of an expert makes these."""

    group: DomainName
    """Name of the expert that was split."""
    index: Annotated[int, Field(ge=0)]
    """Number of the bucket, from 0."""
    split: TextSplitConfig
    """How the text is split."""

    @model_validator(mode="after")
    def _is_a_bucket(self) -> "BucketConfig":
        if self.index >= len(self.split.names):
            raise ValueError(f"index {self.index} is not one of {len(self.split.names)} buckets")
        return self


def bucket_domain(group: str, name: str) -> str:
    """Return the domain of a bucket.

    Args:
        group: Name of the text that is split.
        name: Of the bucket; empty where documents are only left out.
    """
    return f"{group}{HIERARCHY_MARK}{name}" if name else group
