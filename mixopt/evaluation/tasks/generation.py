"""Generation: items that are solved by what the model writes, scored as pass@k.

pass@k is the unbiased estimator 1 − C(n − c, k) / C(n, k) over n samples of which c are right
(Chen et al., arXiv:2107.03374; MaP, arXiv:2510.09295). One greedy sample is plain accuracy.
"""

import re
from collections.abc import Iterator
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mixopt.config.benchmarks import GenerationConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import ItemResults, TaskContext, describe_metric
from mixopt.evaluation.tasks.code_execution import passes_tests
from mixopt.evaluation.tasks.items import read_items, require_fields, require_text
from mixopt.evaluation.tasks.prompt import Item, PromptBuilder, Template

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SEQUENCES = 32
"""Completions that are written together."""
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")


def estimate_pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that one of `k` samples is right, from `right` of `samples` (k ≤ samples)."""
    return 1.0 - comb(samples - right, k) / comb(samples, k)


class GenerationTask:
    """An item is a prompt, and the answer or the tests that its completion must meet.

    Raises:
        DataError: An item lacks a field, or its tests are to be run without leave.
    """

    def __init__(self, recipe: GenerationConfig, context: TaskContext) -> None:
        if recipe.match == "tests" and not context.run_code:
            raise DataError(
                f"Benchmark {recipe.name!r} runs programs that models write; allow it with --run-code "
                "(run_code=True from Python) where nothing is to be lost, or leave it out."
            )
        self.metric = describe_metric(recipe, "higher")
        self._recipe, self._context = recipe, context
        self.truncated = 0
        self._prompts: list[list[int]] = []
        self._items: list[tuple[str, Item]] = []
        self._program = Template(recipe.program, recipe.name)
        self._prompter = PromptBuilder(recipe, self._solve, answered=recipe.match != "tests")
        targets = [] if recipe.match == "tests" else [recipe.target_field]
        for where, row in read_items(recipe, [*self._prompter.fields, *targets]):
            prompt = self._prompter.write(row, where)
            if targets:
                self._solve(row, where)
            else:
                self._write_program("", row, where)  # a field that is missing is told now
            tokens = [context.separator, *context.encode(prompt)]
            room = context.context - min(recipe.max_new_tokens, context.context // 2)
            self.truncated += len(tokens) > room
            self._prompts.append(tokens[-room:])
            self._items.append((where, row))

    @property
    def layout(self) -> tuple[object, ...]:
        """Prompts, what solves them, and how completions are written."""
        rows = repr([row for _, row in self._items])
        told = self._recipe.model_dump_json(exclude={"items", "examples"})  # their content follows
        return told, self._context.context, self._prompts, rows

    @torch.inference_mode()
    def measure(self, model: "PreTrainedModel") -> ItemResults:
        """pass@k of each item under `model`."""
        recipe = self._recipe
        right = np.zeros(len(self._prompts), dtype=int)
        for place, text in self._complete(model):
            right[place] += self._solves(place, text)
        values = [estimate_pass_at_k(recipe.samples, int(count), recipe.k) for count in right]
        return ItemResults(np.array(values), np.ones(len(values)))

    def _complete(self, model: "PreTrainedModel") -> Iterator[tuple[int, str]]:
        """Completions with the places of their items; items of like length go together."""
        model.eval()
        recipe, tokenizer = self._recipe, self._context.tokenizer
        each = max(1, BATCH_SEQUENCES // recipe.samples)
        order = sorted(range(len(self._prompts)), key=lambda place: len(self._prompts[place]))
        drawn: dict[str, Any] = {"do_sample": False}
        if recipe.samples > 1:
            drawn = {
                "do_sample": True,
                "temperature": recipe.temperature,
                "top_k": 0,
                "num_return_sequences": recipe.samples,
            }
        for start in range(0, len(order), each):
            places = order[start : start + each]
            tokens, mask = self._pad([self._prompts[place] for place in places])
            room = self._context.context - tokens.shape[1]
            # draws depend on the item's batch alone, and no one else's are disturbed
            with torch.random.fork_rng(enabled=recipe.samples > 1):
                torch.manual_seed(recipe.seed + start)
                written = model.generate(
                    tokens.to(model.device),
                    attention_mask=mask.to(model.device),
                    max_new_tokens=min(recipe.max_new_tokens, max(1, room)),
                    pad_token_id=self._context.separator,
                    **drawn,
                )
            texts = tokenizer.batch_decode(written[:, tokens.shape[1] :], skip_special_tokens=True)
            for index, text in enumerate(texts):
                yield places[index // recipe.samples], self._cut(text)

    def _pad(self, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts of one batch, padded on the left, and their mask."""
        width = max(map(len, prompts))
        tokens = torch.full((len(prompts), width), self._context.separator)
        mask = torch.zeros_like(tokens)
        for row, prompt in enumerate(prompts):
            tokens[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        return tokens, mask

    def _cut(self, text: str) -> str:
        """The completion before the first of the stops."""
        ends = [place for stop in self._recipe.stop if (place := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else text

    def _solves(self, place: int, text: str) -> bool:
        recipe = self._recipe
        where, row = self._items[place]
        if recipe.match == "tests":
            program = self._write_program(text, row, where)
            return passes_tests(program, timeout_s=recipe.timeout_s, memory_mb=recipe.memory_mb)
        target = self._solve(row, where)
        if recipe.match == "number":
            return last_number(text) == last_number(target)
        return text.strip() == target.strip()

    def _write_program(self, completion: str, row: Item, where: str) -> str:
        own = self._prompter.ask(row, where)
        return self._program.write(row | {"prompt": own, "completion": completion}, where)

    def _solve(self, row: Item, where: str) -> str:
        field = self._recipe.target_field
        require_fields(row, [field], where)
        target = require_text(row, field, where)
        if self._recipe.match == "number" and last_number(target) is None:
            raise DataError(f"{where}: field {field!r} has no number; mend it, or match: exact.")
        return target


def last_number(text: str) -> float | None:
    """The last number of a text, thousands separators allowed; None where it has none."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None
