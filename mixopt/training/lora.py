"""LoRA factors of a model that is trained: what they adapt, and whether merges can add it."""

import logging
import re
import warnings
from typing import TYPE_CHECKING

import torch

from mixopt.config.training import LoraConfig
from mixopt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

BEYOND = ("rank_pattern", "alpha_pattern", "layer_replication", "alora_invocation_tokens", "use_qalora",
          "use_bdlora", "target_parameters")  # fmt: skip
"""Settings of peft with which a delta is another one than scale·B·A of each weight."""
ROUTED = re.compile(r"\.experts\.")
"""In the names of the weights of a mixture of experts that a router chooses among."""


def add_factors(model: "PreTrainedModel", settings: LoraConfig, seed: int) -> "PreTrainedModel":
    """Freeze a model and add LoRA factors to it.

    Args:
        model: Changed in place; it may be on the meta device.
        settings: Rank, alpha and target modules.
        seed: Seed of the factors; the global random state is left as it was.

    Returns:
        The model with its factors.

    Raises:
        ModelError: LoRA does not fit the model, or adapts it in a way that merges cannot add.
    """
    import peft

    attention = sorted(_attention_layers(model))
    embedding = model.get_input_embeddings()
    config = peft.LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    with torch.random.fork_rng(), warnings.catch_warnings():
        # of patterns that peft wrote itself, and of tied tables, for what is refused below
        warnings.filterwarnings("ignore", "The following .*_pattern keys did not match")
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        torch.manual_seed(seed)
        try:
            adapted = peft.get_peft_model(model, config)
        except ValueError as error:
            raise ModelError(
                f"LoRA does not fit this base ({str(error).splitlines()[0]}); fix "
                "training.lora.target_modules."
            ) from None
    # peft turns targets into others where transformers holds all experts of a layer in one tensor
    if any(getattr(config, name, None) for name in BEYOND):
        example = f", such as [{', '.join(attention)}]," if attention else ""
        raise ModelError(
            "The target modules of LoRA include the routed experts of this base, a mixture of experts, "
            "whose factors no merge can add; name other layers in "
            f"training.lora.target_modules{example} or set training.method: full."
        )
    _refuse_tables(adapted, embedding)
    return adapted


def _refuse_tables(adapted: "PreTrainedModel", embedding: torch.nn.Module) -> None:
    """Refuse factors of the input embeddings, and of an output table that is tied to them.

    Args:
        adapted: Model with factors.
        embedding: Its input embeddings without them.
    """
    from peft.tuners.lora import LoraLayer

    for path, module in adapted.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        table = module.get_base_layer()
        if isinstance(table, torch.nn.Embedding):
            what = "input embeddings"
        elif getattr(table, "weight", None) is embedding.weight:
            what = "an output table that is tied to the input embeddings"
        else:
            continue
        name = path.rpartition(".")[2]
        raise ModelError(
            f"The target modules of LoRA include {name}, {what}, whose factors no merge can add; leave "
            f"{name} out of training.lora.target_modules or set training.method: full."
        )


def _attention_layers(model: torch.nn.Module) -> set[str]:
    """Return the names, without their paths, of the linear layers of attention."""
    return {
        path.rpartition(".")[2]
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "attn" in path
    }


def warn_of_frozen_experts(model: "PreTrainedModel") -> None:
    """Warn where the weights of routed experts have no LoRA factors.

    Args:
        model: With factors, in memory or on the meta device.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    own = {name: size for name, size in sizes.items() if ".lora_" not in name}
    routed = sum(size for name, size in own.items() if ROUTED.search(name))
    if routed and not any(ROUTED.search(name) for name in sizes if ".lora_" in name):
        log.warning(
            "LoRA has no factors for the routed experts of the base, %.0f%% of its weights, which stay "
            "as they are; training.method: full trains them.", 100 * routed / sum(own.values())
        )  # fmt: skip
