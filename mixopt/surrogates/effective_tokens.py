"""The value of repeated tokens: effective tokens of a budget larger than the data.

Muennighoff et al. (2305.16264): R repetitions of U unique tokens are worth U·(1 + R*(1 − e^{−R/R*})),
R* = 15.39. Sedova et al. (2605.12715) use the same form for one scarce domain inside a mixture, with
its own r1, and add the fresh rest: R* by domain gives both. See docs/methods.md, section 6.1.

Shapes: `n` mixtures, `d` domains.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixopt.errors import MixtureError, did_you_mean
from mixopt.mixture import Array

SATURATION = 15.387756
"""R*_D of Muennighoff et al.: repetitions after which a further one is worth 1/e of a fresh one."""


@dataclass(frozen=True, eq=False)
class Repetition:
    """How a budget repeats the domains.

    Attributes:
        domains: The `d` domains.
        available_tokens: Unique tokens of each (`d`), infinite where they do not run out.
        budget_tokens: Tokens of the target run.
        saturation: R* of each domain: repetitions after which one more is worth 1/e (`d`).
    """

    domains: tuple[str, ...]
    available_tokens: Array
    budget_tokens: float
    saturation: Array

    @classmethod
    def of(
        cls,
        domains: tuple[str, ...],
        available_tokens: Mapping[str, float],
        *,
        budget_tokens: float,
        saturation: float | Mapping[str, float] = SATURATION,
    ) -> "Repetition":
        """Return the repetition of a budget over the available tokens.

        Args:
            domains: The `d` domains.
            available_tokens: Unique tokens by domain; a domain left out never runs out.
            budget_tokens: Tokens of the target run.
            saturation: R*, of all domains or by domain.

        Raises:
            MixtureError: A name is no domain, or a number is not positive.
        """
        each = saturation if isinstance(saturation, Mapping) else dict.fromkeys(domains, saturation)
        for what, numbers in (("available tokens", available_tokens), ("saturation", each)):
            for name, value in numbers.items():
                if name not in domains:
                    raise MixtureError(
                        f"The {what} of {name!r} are of no domain of this search. "
                        f"{did_you_mean(name, domains)}"
                    )
                if not value > 0:
                    raise MixtureError(f"The {what} of {name!r} is {value:g}; it must be positive.")
        if not budget_tokens > 0:
            raise MixtureError(f"The budget is {budget_tokens:g} tokens; it must be positive.")
        unique = np.array([float(available_tokens.get(name, np.inf)) for name in domains])
        saturations = np.array([float(each.get(name, SATURATION)) for name in domains])
        return cls(tuple(domains), unique, float(budget_tokens), saturations)

    def effective(self, ratios: Array) -> tuple[Array, Array]:
        """Return effective shares of the budget and their derivatives by the ratios (`n x d` each).

        The shares of a mixture sum to at most one.
        """
        epochs = ratios * self.budget_tokens / self.available_tokens
        again = np.maximum(epochs - 1, 0.0)
        decay = np.exp(-again / self.saturation)
        worth = np.where(epochs > 1, 1 + self.saturation * (1 - decay), epochs)
        with np.errstate(invalid="ignore"):
            limited = worth * self.available_tokens / self.budget_tokens
            share = np.where(np.isinf(self.available_tokens), ratios, limited)
        return share, np.where(epochs > 1, decay, 1.0)
