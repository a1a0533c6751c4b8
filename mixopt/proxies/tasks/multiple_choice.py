"""Multiple choice by length-normalised log-likelihood of each choice's text."""

from mixopt.proxies.tasks import Array, ItemResults, TaskContext, describe_metric
from mixopt.proxies.tasks.choosing import Choices, read_choice_items, request_choice
from mixopt.recipe import MultipleChoice


class MultipleChoiceTask:
    """An item is right where its answer has the highest log-likelihood per byte (acc_norm).

    Raises:
        DataError: An item has fewer than two choices, an empty one, or an answer out of range.
    """

    def __init__(self, recipe: MultipleChoice, context: TaskContext) -> None:
        self.metric = describe_metric(recipe, "higher")
        self._choices = Choices()
        for _, prompt, choices, answer in read_choice_items(recipe):
            built = [request_choice(context, prompt, recipe.separator, c) for c in choices]
            self._choices.add(built, answer)
        self.requests, self.starts = self._choices.requests, self._choices.starts
        self.truncated = self._choices.truncated

    @property
    def layout(self) -> tuple[object, ...]:
        """Answers, bytes of each choice, and the request that each item begins with."""
        return self._choices.layout

    def read(self, totals: Array) -> ItemResults:
        """1 for each item whose answer is most likely per byte, else 0; a tie counts its share."""
        return self._choices.read(totals)

    @property
    def loss_weights(self) -> Array:
        """Bits per byte of the right choices."""
        return self._choices.loss_weights
