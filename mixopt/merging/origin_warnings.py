"""Warnings where an expert's files say that it comes from another model, or runs with other settings.

A merge has the base's configuration. Settings that no tensor's shape shows, such as rotary embeddings,
would otherwise change silently for an expert that was trained with others.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixopt.io.parsing import show
from mixopt.merging.checkpoint import find_adapter
from mixopt.merging.full_precision import read_config
from mixopt.merging.lora_expert import read_adapter_config

log = logging.getLogger(__name__)

FIELDS = (
    "model_type", "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act",
    "hidden_activation", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "num_experts_per_tok",
    "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "layer_types",
)  # fmt: skip
"""Fields of `config.json` that change what the same tensors compute, beside rotary embeddings and
sliding window."""
FULL, SLIDING = "full_attention", "sliding_attention"
"""Types of layers, by which newer configurations divide the settings of rotary embeddings."""
SHOWN = 4
"""Differences that a warning names."""


def warn_of_origin(expert: Path, base: Path, name: str | None = None) -> None:
    """Log a warning where the files of an expert and of its base contradict each other.

    Args:
        expert: Folder of full weights or of a LoRA adapter.
        base: Folder of the base.
        name: Path or hub id by which the base is known; its folder if left out.

    Raises:
        ModelError: A configuration cannot be read.
    """
    if find_adapter(expert) is not None:
        stated = read_adapter_config(expert).get("base_model_name_or_path")
        if isinstance(stated, str) and stated and not _is_same_model(stated, base, name):
            log.warning(
                "%s says that it was trained from %s, and the base is %s: is that the same model?",
                expert, show(stated), name or base,
            )  # fmt: skip
        return
    unlike = differing_settings(read_config(base), read_config(expert))
    if unlike:
        more = [f"{len(unlike) - SHOWN} more"] if len(unlike) > SHOWN else []
        log.warning(
            "%s has other settings in config.json than the base (%s), and the merge keeps the base's: "
            "was it trained from this base?", expert, "; ".join([*unlike[:SHOWN], *more]),
        )  # fmt: skip


def _is_same_model(stated: str, base: Path, name: str | None) -> bool:
    if Path(stated).exists() and Path(stated).samefile(base):
        return True
    known = [str(base.resolve()), read_config(base).get("_name_or_path"), name]
    parts = {part for text in known if isinstance(text, str) for part in _parts(text)}
    return _parts(stated)[-1] in parts


def _parts(path: str) -> list[str]:
    """Return the last name of a path or hub id, and hub ids in a path of the hub's cache."""
    parts = [part for part in path.casefold().replace("\\", "/").split("/") if part]
    cached = [p.rpartition("--")[2] for p in parts if p.startswith("models--")]
    return [*cached, *parts[-1:]] or [""]


def differing_settings(base: Mapping[str, Any], expert: Mapping[str, Any]) -> list[str]:
    """Return the settings in which two configurations compute different things from the same tensors.

    A field that only one of them has is not compared, because its default depends on the version of
    transformers that wrote the other.

    Args:
        base: Content of the base's `config.json`.
        expert: Content of the expert's.

    Returns:
        One text for each, such as `rope_theta 1000000.0 for 10000.0`; the base's value is last.
    """
    ours, theirs = _settings(base), _settings(expert)
    if ours.get("model_type") != theirs.get("model_type"):  # families without it have no such key
        ours.setdefault("sliding_window", None)
        theirs.setdefault("sliding_window", None)
    return [
        f"{key} {show(theirs[key])} for {show(ours[key])}"
        for key in ours
        if key in theirs and ours[key] != theirs[key]
    ]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    inner = config.get("text_config")
    config = inner if isinstance(inner, Mapping) else config
    found = {key: config[key] for key in FIELDS if config.get(key) is not None}
    if "sliding_window" in config:
        off = config.get("use_sliding_window") is False
        found["sliding_window"] = None if off else config["sliding_window"]
    return found | _rope(config)


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of rotary embeddings, those of layers of full attention without a prefix."""
    rope: dict[str, Any] = {"rope_theta": config.get("rope_theta")}
    local = {
        f"{SLIDING} rope_theta": config.get("rope_local_base_freq")
    }  # of Gemma 3, before version 5
    given = any(key in config for key in ("rope_theta", "rope_scaling", "rope_parameters"))
    for key in ("rope_scaling", "rope_parameters"):
        found = config.get(key)
        entry: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        for name, value in entry.items():
            if not isinstance(value, Mapping):
                rope[name] = value
            elif name == FULL:
                rope |= value
            else:
                local |= {f"{name} {inner}": each for inner, each in value.items()}
                given &= FULL in entry  # nothing is said of full attention
    if given:
        rope["rope_type"] = rope.get("rope_type", rope.pop("type", None)) or "default"
    return {key: value for key, value in (rope | local).items() if value is not None}
