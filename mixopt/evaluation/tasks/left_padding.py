"""Prompts of different lengths in one batch: padding on the left, and models that it changes.

Models with a recurrent state (RecurrentGemma, RWKV) read padding as tokens, whatever the mask says, and
the cache of some takes one prompt only.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from mixopt.evaluation.rounding_error import is_rounding_error

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

Batching = Literal["mixed", "alike", "single"]
"""Prompts of one batch: of any lengths, of one length, or one alone."""


def pad_left(prompts: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad prompts to the length of the longest.

    Args:
        prompts: Tokens of each (`b`).
        padding: Token to pad with.

    Returns:
        Tokens and attention mask (`b x t`).
    """
    width = max(map(len, prompts))
    tokens = torch.full((len(prompts), width), padding)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return tokens, mask


@torch.inference_mode()
def find_batching(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], padding: int
) -> Batching:
    """Try in which batches a model writes the same after a prompt as after the prompt alone.

    Args:
        model: Generates greedily.
        prompts: Tokens of each; the shortest is tried, in a batch with the longest.
        padding: Token to pad with.
    """
    shortest, longest = min(prompts, key=len), max(prompts, key=len)
    alone = _predict(model, [shortest], padding)
    if _is_same(alone, model, [shortest, longest], padding):
        return "mixed"
    found: Batching = "alike" if _is_same(alone, model, [shortest] * 2, padding) else "single"
    log.info(
        "%s generates with %s, since others in its batch change what it writes.", type(model).__name__,
        "prompts of one length together" if found == "alike" else "one prompt at a time",
    )  # fmt: skip
    return found


def _is_same(
    alone: torch.Tensor, model: "PreTrainedModel", prompts: list[Sequence[int]], padding: int
) -> bool:
    try:
        apart = (_predict(model, prompts, padding) - alone).abs()
    except torch.OutOfMemoryError:
        raise  # says nothing of the mask
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError):
        return False  # models fail in many ways on a mask that they do not expect
    return is_rounding_error(apart, model.dtype)


def _predict(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], padding: int
) -> torch.Tensor:
    """Return the log-probabilities of the tokens after the first prompt (`2 x vocabulary`)."""
    tokens, mask = pad_left(prompts, padding)
    # the second token is written with the cache of the first
    written = model.generate(
        tokens.to(model.device), attention_mask=mask.to(model.device), min_new_tokens=2,
        max_new_tokens=2, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    return torch.log_softmax(torch.stack([each[0] for each in written.logits]).float(), -1)
