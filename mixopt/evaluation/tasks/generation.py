"""Generation: items that the model's completion must solve, scored as pass@k.

pass@k is estimated without bias by 1 − C(n − c, k) / C(n, k) over n samples of which c are right (Chen
et al., arXiv:2107.03374, eq. 1; MaP, arXiv:2510.09295). One greedy sample gives accuracy.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import groupby, takewhile
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mixopt.config.benchmarks import GenerationConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import ItemResults, TaskContext, describe_metric, keep_end
from mixopt.evaluation.tasks.code_execution import passes_tests
from mixopt.evaluation.tasks.items import read_items, require_text
from mixopt.evaluation.tasks.left_padding import find_batching, pad_left
from mixopt.evaluation.tasks.prompt import Item, PromptBuilder
from mixopt.evaluation.tasks.template import Template

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SEQUENCES = 32
"""Completions that are generated together."""
BEFORE = 8
"""Tokens of the prompt that are decoded before a completion."""
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")


def _estimate_pass_at_k(samples: int, right: int, k: int) -> float:
    return 1.0 - comb(samples - right, k) / comb(samples, k)


class GenerationTask:
    """An item is a prompt, and the answer or tests that its completion must satisfy.

    Args:
        config: Sets the file of items, their fields, and how completions are sampled.
        context: Sets tokenizer, sequence length, and whether programs may be run.

    Raises:
        DataError: An item lacks a field, or its tests may not be run.
    """

    def __init__(self, config: GenerationConfig, context: TaskContext) -> None:
        if config.match == "tests" and not context.run_code:
            raise DataError(
                f"Benchmark {config.name!r} runs programs that models write; allow it with --run-code "
                "(run_code=True from Python) on a machine without data or credentials that such a "
                "program could harm, or leave it out."
            )
        self.metric = describe_metric(config, "higher")
        self._config, self._context = config, context
        self.truncated = 0
        self._prompts: list[list[int]] = []
        self._items: list[tuple[str, Item]] = []
        self._program = Template(config.program, config.name)
        self._prompter = PromptBuilder(
            config, self._solve, answered=config.match != "tests", separator=config.separator
        )
        for where, row in read_items(config):
            prompt = self._prompter.write(row, where)
            if config.match != "tests":
                self._solve(row, where)
            else:
                self._write_program("", row, where)  # raises now where a field is missing
            tokens = [context.separator, *context.encode(prompt)]
            room = context.context - min(config.max_new_tokens, context.context // 2)
            self.truncated += len(tokens) > room
            self._prompts.append(keep_end(tokens, room))
            self._items.append((where, row))

    @property
    def layout(self) -> tuple[object, ...]:
        rows = repr([row for _, row in self._items])
        # the content of items and examples follows
        config = self._config.model_dump_json(exclude={"items", "examples"})
        return config, self._context.context, self._prompts, rows

    @torch.inference_mode()
    def measure(self, model: "PreTrainedModel") -> ItemResults:
        config = self._config
        right = np.zeros(len(self._prompts), dtype=int)
        for place, text in self._complete(model):
            right[place] += self._solves(place, text)
        values = [_estimate_pass_at_k(config.samples, int(count), config.k) for count in right]
        return ItemResults(np.array(values), np.ones(len(values)))

    def _complete(self, model: "PreTrainedModel") -> Iterator[tuple[int, str]]:
        model.eval()
        config = self._config
        each = max(1, BATCH_SEQUENCES // config.samples)
        settings: dict[str, Any] = {"do_sample": False}
        if config.samples > 1:
            settings = {"do_sample": True, "temperature": config.temperature, "top_k": 0,
                        "num_return_sequences": config.samples}  # fmt: skip
        start = 0
        for places in self._batch(model, each):
            tokens, mask = pad_left([self._prompts[p] for p in places], self._context.separator)
            room = self._context.context - tokens.shape[1]
            # samples depend on the batch only, and the global random state is left as it was
            with (
                torch.random.fork_rng(enabled=config.samples > 1),
                _only_settings(model, self._context.separator, settings),
            ):
                if config.samples > 1:
                    torch.manual_seed(config.seed + start)
                written = model.generate(
                    tokens.to(model.device),
                    attention_mask=mask.to(model.device),
                    max_new_tokens=min(config.max_new_tokens, max(1, room)),
                )
            for index, row in enumerate(written[:, tokens.shape[1] :].tolist()):
                place = places[index // config.samples]
                yield place, self._finish(self._prompts[place], _until_end(row, model))
            start += len(places)

    def _batch(self, model: "PreTrainedModel", size: int) -> Iterator[list[int]]:
        """Yield the places of prompts of similar length, of one length, or of one prompt."""
        separator = self._context.separator
        with _only_settings(model, separator, {"do_sample": False}):
            batching = find_batching(model, self._prompts, separator)
        lengths = [len(prompt) for prompt in self._prompts]
        size = 1 if batching == "single" else size
        order = sorted(range(len(lengths)), key=lambda place: lengths[place])
        for _, group in groupby(order, lambda place: batching == "mixed" or lengths[place]):
            places = list(group)
            yield from (places[i : i + size] for i in range(0, len(places), size))

    def _finish(self, prompt: list[int], written: list[int]) -> str:
        """Return the text that was written after a prompt, up to the first stop.

        A stop may be or hold a special token (`<|im_end|>`), which is decoded for that, and removed.
        """
        special = self._special
        if not special.keys() & set(written):
            return self._cut(self._decode(prompt, written))
        text = self._cut(self._decode(prompt, written, special=True))
        for token in sorted(special.values(), key=len, reverse=True):
            text = text.replace(token, "")
        return text

    @cached_property
    def _special(self) -> dict[int, str]:
        """Special tokens by their numbers."""
        tokenizer = self._context.tokenizer
        added = {i: t.content for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        return added | dict(
            zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
        )

    def _decode(self, prompt: list[int], written: list[int], *, special: bool = False) -> str:
        """Return the text that was written after a prompt, with or without special tokens.

        The decoder of a SentencePiece tokenizer removes the first space of a text: decoded alone, a
        completion that begins with an indented line would lose it.
        """
        decode = partial(self._context.tokenizer.decode, skip_special_tokens=not special)
        before = prompt[-BEFORE:]
        known = decode(before)
        whole = decode([*before, *written])
        if whole.startswith(known):
            return str(whole[len(known) :])
        # a character of several tokens begins in the prompt
        return str(decode(written))

    def _cut(self, text: str) -> str:
        ends = [place for stop in self._config.stop if (place := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else text

    def _solves(self, place: int, text: str) -> bool:
        config, (where, row) = self._config, self._items[place]
        if config.match == "tests":
            program = self._write_program(text, row, where)
            return passes_tests(program, timeout_s=config.timeout_s, memory_mb=config.memory_mb)
        target = self._solve(row, where)
        if config.match == "number":
            return _last_number(text) == _last_number(target)
        return text.strip() == target.strip()

    def _write_program(self, completion: str, row: Item, where: str) -> str:
        own = self._prompter.ask(row, where)
        return self._program.write(row | {"prompt": own, "completion": completion}, where)

    def _solve(self, row: Item, where: str) -> str:
        field = self._config.target_field
        target = require_text(row, field, where)
        if self._config.match == "number" and _last_number(target) is None:
            raise DataError(f"{where}: field {field!r} has no number; fix it, or match: exact.")
        return target


@contextmanager
def _only_settings(
    model: "PreTrainedModel", padding: int, settings: Mapping[str, Any]
) -> Iterator[None]:
    """Let a model generate by the benchmark's settings alone, with its own ends of a text.

    The model's generation_config.json (a penalty of repetition, top_p) would change the scores, and
    transformers takes from it whatever a call leaves out.
    """
    from transformers import GenerationConfig as Settings

    own = model.generation_config
    model.generation_config = Settings(
        bos_token_id=None if own is None else own.bos_token_id,
        eos_token_id=None if own is None else own.eos_token_id,
        pad_token_id=padding,
        **settings,
    )
    try:
        yield
    finally:
        model.generation_config = own


def _until_end(written: list[int], model: "PreTrainedModel") -> list[int]:
    """Return the tokens before the first at which the model ends a text; padding follows it."""
    own = getattr(model.generation_config, "eos_token_id", None)
    ends = {own} if isinstance(own, int) else set(own or ())
    return list(takewhile(lambda token: token not in ends, written))


def _last_number(text: str) -> float | None:
    numbers = NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None
