"""Spends a study's budget of training: one run at a time, where it raises the expected gain most.

Natural is trained with two seeds first. Then each run is the one that is worth most for its tokens: a
candidate, a longer run, another seed. After each, the mixture that is expected to gain most is searched
anew, and becomes a candidate where it is above all others. At the end unused seeds of the best candidate
and of natural are trained, whose number was fixed before.

Which runs are bought follows from the budget and from what the store has. Choices of an earlier command
are made again, so that a study that was killed goes on with the same runs, and a budget that was spent
buys nothing more. Where they lead elsewhere (the budget was raised, or `batch` changed), all that the
store has is used first, and paid for by the new budget.

Shapes: `q` candidates, `d` domains, `m` metrics.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mixopt.callbacks.base import BestSoFar
from mixopt.config.cross_checks import NATURAL_SEEDS
from mixopt.decision import NEAREST_ALLOWED
from mixopt.errors import RunError
from mixopt.mixture import Array, Mixture
from mixopt.optimization.acquisition import value_of_runs
from mixopt.optimization.decision import TIE
from mixopt.pipeline.confirmation import confirmation_of, trainable_lengths
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.decide import list_candidates, list_observations
from mixopt.pipeline.gain_curve import choose, count_runs, estimate_gain
from mixopt.pipeline.gains import Observation, StudyGains, reaches_natural
from mixopt.pipeline.mixture_runs import (
    FRESH,
    RunSpec,
    has_ended,
    has_text,
    name_mixture,
)
from mixopt.pipeline.propose import proposals_artifact
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.purchase import Purchase, kind_of, pick_purchase
from mixopt.pipeline.refinement import Refinement
from mixopt.pipeline.run_ledger import RunLedger, WantedRun, count_tokens, is_same
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.stored_purchases import find_stored_purchases
from mixopt.proposal import Proposal
from mixopt.surrogates.gain_model import Mixtures, Runs
from mixopt.trials import Trials

CONSIDERED = 12  # candidates with the highest expected gains of which runs are considered
ENOUGH_MISSES = 2  # runs in turn that promise less than a tie, after which nothing more is bought


class BudgetSpender:
    """Buys runs until the budget is spent or nothing is worth its tokens.

    Args:
        context: The study; it has a budget.
        gains: What is known of gains before any run.
        candidates: Mixtures that may be chosen at first (`q x d`).
        known: Runs that were trained before: candidates of the search, and of a validation.
        paid: Tokens of training that a method of others took beside experts and runs.
        refinement: Searches further candidates after each run; none are if left out.
    """

    def __init__(
        self,
        context: StudyContext,
        gains: StudyGains,
        candidates: Array,
        known: Sequence[Observation] = (),
        paid: int = 0,
        refinement: Refinement | None = None,
    ) -> None:
        self._context, self._gains = context, gains
        self._first = self._candidates = candidates
        self._refinement = refinement
        config = context.config
        self._lengths = trainable_lengths(context)
        self._budget = config.budget_tokens
        trained = [name for name in context.compositions if name not in context.given_experts]
        paid += len(trained) * config.training.expert_length
        self._ledger = RunLedger(context, gains, self._lengths, known, paid)
        self._stored: list[RunSpec] = []
        self._reserve = self._confirmed = self._misses = 0
        self._reported = -1  # observations when the best mixture was reported last
        self._beside_experts = self._budget - self._ledger.spent

    @property
    def spent(self) -> int:
        """Tokens of training so far, experts included."""
        return self._ledger.spent

    def spend(self) -> list[Observation]:
        """Train what the budget buys; return all runs at all their lengths.

        Raises:
            RunError: Natural could not be trained.
        """
        self._train_natural()
        found = [] if self._refinement is None else self._refinement.found_before()
        rows = (self._gains.natural, *self._first, *found)
        mixtures = list(dict.fromkeys(self._ledger.mixture(row) for row in rows))
        stored = find_stored_purchases(self._context, self._lengths, mixtures)
        self._stored = [spec for spec in stored if not self._ledger.is_known(spec)]
        self._reserve, self._confirmed = confirmation_of(
            self._context.config, self._lengths, self._beside_experts,
            self._budget - self._ledger.spent - count_tokens(self._stored),
        )  # fmt: skip
        while self._buy():
            self._ledger.reset()
            self._candidates = self._first
            self._misses = 0
            self._train_natural()
        self._confirm()
        if self._ledger.failures and self._gains.observe(self._ledger.runs) is None:
            self._context.callbacks.warning(
                "No candidate could be trained, so ensembles of the experts alone tell: "
                f"{next(iter(self._ledger.failures.values()))}",
                "ratios",
            )
        return self._ledger.observations

    def _train_natural(self) -> None:
        """Train natural's first runs."""
        short, natural = self._lengths[0], self._gains.natural
        seeds = [s for s in range(NATURAL_SEEDS) if not self._ledger.is_trained(natural, s, short)]
        self._ledger.train([(natural, seed, short) for seed in seeds])
        runs = self._ledger.runs
        if not any(is_same(each.ratios, natural) and not each.failed for each in runs):
            raise RunError(
                "The natural mixture could not be trained, and every gain is measured against it: "
                f"{next(iter(self._ledger.failures.values()))}"
            )

    def _buy(self) -> bool:
        """Choose and train runs, until nothing that can be paid for is worth its tokens.

        Returns:
            Whether to begin again, with what was trained in the store. A later command finds it there:
            beginning as that does, it asks for the same runs.
        """
        goes_on = False  # from what the store has, to which the choices did not lead
        while True:
            batch = self._choose() if self._misses < ENOUGH_MISSES else []
            if goes_on and len(batch) == 1 and self._misses >= ENOUGH_MISSES:
                return False
            rows = self._list_runs(batch)
            specs = [self._ledger.specify(*row) for row in rows]
            new = [
                spec
                for spec in specs
                if spec not in self._ledger.ended and not has_ended(self._context, spec)
            ]
            unused = {spec for spec in self._stored if spec not in self._ledger.used}
            # of a batch that was killed the store has a part
            if unused and (new or not batch) and not goes_on and not unused <= {*specs}:
                self._use(unused)
                # one more choice without promise ends it: a mixture may be bought in vain once already
                goes_on, self._misses = True, ENOUGH_MISSES - 1
                continue
            if not batch:
                return False
            if any(spec not in self._ledger.ended for spec in specs):  # not said before
                for purchase in batch:
                    self._context.callbacks.message(f"next: {purchase.describe()}")
            self._ledger.train(rows)
            self._stored += new
            if goes_on and new:
                return True

    def _use(self, stored: Collection[RunSpec]) -> None:
        """Read runs that an earlier command bought, as far as the budget pays for them."""
        rows, left = [], self._budget - self._reserve - self._ledger.spent
        domains = self._context.config.domains
        known = [self._gains.natural, *self._candidates]
        order = {self._ledger.mixture(row): place for place, row in enumerate(known)}

        def place(spec: RunSpec) -> tuple[int, str, int, tuple[int, ...]]:
            # what earlier commands found beside these comes last
            own = order.get(spec.ratios, len(known))
            return own, name_mixture(spec.ratios), spec.seed, spec.checkpoints

        for spec in sorted(stored, key=place):
            if (tokens := spec.checkpoints[-1]) <= left:
                left -= tokens
                row = spec.ratios.vector(domains)
                rows.append((row, spec.seed, tokens))
                if spec.ratios not in order:
                    order[spec.ratios] = len(order)
                    self._candidates = np.vstack([self._candidates, row])
        self._ledger.train(rows)

    def _refine(self, runs: Runs | None) -> None:
        """Add the mixture that is expected to gain most, where it is above all candidates."""
        if self._refinement is None or runs is None:
            return
        posterior = self._gains.condition(runs)
        found = self._refinement.search(posterior, self._candidates, self._ledger.runs)
        if found is not None:
            self._candidates = np.vstack([self._candidates, found])

    def _choose(self) -> list[Purchase]:
        """Return the most valuable runs for their tokens, a batch of them; [] for none."""
        combinations = self._gains.objective.combinations()
        runs = self._gains.observe(self._ledger.runs)
        self._refine(runs)
        asked = self._gains.mixtures(self._candidates, self._gains.tokens)
        left = self._budget - self._reserve - self._ledger.spent
        batch: list[Purchase] = []
        config = self._context.config.budget
        for _ in range(config.batch if config else 0):
            posterior = self._gains.condition(runs)
            mean, covariance = posterior.gains(asked, combinations)
            expected = mean.min(axis=1)
            sds = np.sqrt(np.maximum(np.einsum("iaia->ia", covariance), 0.0)).max(axis=1)
            if not batch:
                self._report_best(asked, runs)
            order = np.argsort(-(expected + sds), kind="stable")[:CONSIDERED]
            options = self._options(order, batch, left)
            if not options:
                break
            places = [place for place, _ in options]
            at = asked.pick(places, np.array([float(p.tokens) for _, p in options]))
            values = value_of_runs(posterior, asked, at, combinations)
            unit = self._gains.objective.gain_unit
            best, chosen = pick_purchase(
                [
                    replace(purchase, value=value, unit=unit)
                    for (_, purchase), value in zip(options, values.tolist(), strict=True)
                ]
            )
            if chosen.value <= 0:
                break
            tie = TIE * self._gains.objective.usual_gain
            self._misses = 0 if values.max() >= tie else self._misses + 1
            batch.append(chosen)
            left -= batch[-1].price
            # a result at its expectation stands for a run that is still in training
            row = at.pick([best])
            runs = _append(runs, row, posterior.over_natural.gains(row)[0], batch[-1].seed)
            if self._misses >= ENOUGH_MISSES:
                break
        return batch

    def _list_runs(self, batch: Sequence[Purchase]) -> list[WantedRun]:
        """Return what a batch trains: mixtures (`d`), seeds and tokens, each run of natural once."""
        wanted: dict[tuple[str, int, int], WantedRun] = {}
        for purchase in batch:
            ratios = purchase.ratios.vector(self._context.config.domains)
            seed, tokens = purchase.seed, purchase.tokens
            for row in (self._gains.natural, ratios):
                if self._ledger.is_trained(row, seed, tokens):
                    continue
                # at a constant rate the longest run has the others as checkpoints
                own = tokens if self._ledger.decays else 0
                key = name_mixture(self._ledger.mixture(row)), seed, own
                if key not in wanted or wanted[key][2] < tokens:
                    wanted[key] = row, seed, tokens
        return [*wanted.values()]

    def _report_best(self, asked: Mixtures, runs: Runs | None) -> None:
        """Report what the decision would be about now, in its numbers."""
        if self._reported >= len(self._ledger.runs):  # also where choices are made again
            return
        self._reported = len(self._ledger.runs)
        context, gains = self._context, self._gains
        _, draws, choice = choose(context, gains, asked, runs)
        count = count_runs(context, gains, self._ledger.runs)
        best = BestSoFar(
            self._ledger.mixture(self._candidates[choice.candidate]),
            estimate_gain(draws[:, choice.candidate], gains.objective),
            f"ensembles and {count} trained runs" if count else "ensembles",
            reference="natural" if gains.keeps_natural else NEAREST_ALLOWED,
        )
        context.callbacks.notify(lambda callback: callback.on_best(best))

    def _options(
        self, order: NDArray[np.int64], batch: Sequence[Purchase], left: int
    ) -> list[tuple[int, Purchase]]:
        """Return the runs that can be paid for: index of the candidate, and the run."""
        options = []
        chosen = {(name_mixture(p.ratios), p.seed) for p in batch}
        for place in order.tolist():
            mixture = Mixture.from_vector(self._context.config.domains, self._candidates[place])
            if self._ledger.failed(self._candidates[place]):
                continue
            own = [p.tokens for p in batch if name_mixture(p.ratios) == name_mixture(mixture)]
            longest = max([self._ledger.longest(self._candidates[place]), *own])
            for length in self._lengths:
                if not has_text(self._context, mixture, length):
                    continue
                seed = 0
                while (
                    (name_mixture(mixture), seed) in chosen
                    or self._ledger.is_trained(self._candidates[place], seed, length)
                    or self._ledger.failed(self._gains.natural, seed)
                ):
                    seed += 1
                price = length + self._price_of_natural(seed, length, batch)
                if price <= left:
                    kind = kind_of(length, longest)
                    options.append((place, Purchase(mixture, length, seed, price, 0.0, kind)))
        return options

    def _price_of_natural(self, seed: int, tokens: int, batch: Sequence[Purchase]) -> int:
        """Return the tokens of natural that a run needs beside what is trained and what a batch buys."""
        ledger, natural = self._ledger, self._gains.natural
        bought = {purchase.tokens for purchase in batch if purchase.seed == seed}
        if ledger.is_trained(natural, seed, tokens) or ledger.has(bought, tokens):
            return 0
        # a run of natural that this batch trains anyway grows, and one that exists is trained again
        new = [n for n in bought if not ledger.is_trained(natural, seed, n)]
        return tokens if ledger.decays else tokens - max(new, default=0)

    def _confirm(self) -> None:
        """Train unused seeds of the best candidate and of natural."""
        config = self._context.config.budget
        if config is None or not config.confirmation:
            return
        if not self._reserve:
            self._context.callbacks.message(
                f"Confirmation: left out, because {config.confirmation} unused seeds of two mixtures "
                f"would take more than {self._describe_limit()}."
            )
            return
        runs = self._gains.observe(self._ledger.runs)
        self._refine(runs)
        left = [
            row
            for row in self._candidates
            if not self._ledger.failed(row)
            and has_text(self._context, self._ledger.mixture(row), self._confirmed)
        ]
        if not left:
            return
        # what would be recommended now
        asked = self._gains.mixtures(np.stack(left), self._gains.tokens)
        *_, choice = choose(self._context, self._gains, asked, runs)
        leader = left[choice.candidate]
        self._context.callbacks.message(
            f"Confirmation: the best candidate and natural with {config.confirmation} unused seeds, "
            f"{self._confirmed:,} tokens each."
        )
        seeds = range(FRESH, FRESH + config.confirmation)
        rows = [
            (row, seed, self._confirmed) for seed in seeds for row in (self._gains.natural, leader)
        ]
        self._ledger.train(rows)

    def _describe_limit(self) -> str:
        """Return what a confirmation would take more of than there is."""
        alone, _ = confirmation_of(self._context.config, self._lengths, self._beside_experts)
        if alone:
            return "the runs that an earlier command trained leave of the budget"
        return "half of what the budget leaves beside the experts"


def spend_budget(
    context: StudyContext,
    search: CandidateSearch,
    policy: SurrogatePolicy,
    trials: Trials,
    proposals: Sequence[Proposal],
) -> list[Observation]:
    """Spend a study's budget; return the runs that it bought, at all their lengths.

    Args:
        context: The study.
        search: The experts.
        policy: Fits the surrogate, without runs of this budget.
        trials: Of all rounds.
        proposals: The surrogate's.

    Raises:
        RunError: Natural could not be trained.
    """
    if not reaches_natural(context, search):
        raise RunError(
            "The budget cannot be spent, because the experts that were trained cannot make the natural "
            "mixture; fix what made an expert diverge and run again."
        )
    gains = StudyGains(context, search, policy, trials)
    leaders = gains.search_ensembles(context.config.seed)
    candidates = list_candidates(context, search, policy, trials, proposals, leaders)
    known = list_observations(context, search, policy, trials)
    study = proposals_artifact(context, search, policy, trials).folder_name
    # what a method of others recommends is the only candidate
    refinement = Refinement(context, gains, study) if policy.recommendation is None else None
    spender = BudgetSpender(context, gains, candidates, known, policy.online_tokens, refinement)
    return spender.spend()


def _append(runs: Runs | None, row: Mixtures, gains: Array, seed: int) -> Runs:
    known = row if runs is None else runs.join(row)
    gains = gains if runs is None else np.vstack([runs.gains, gains])
    seeds = np.array([seed]) if runs is None else np.append(runs.seeds, seed)
    return Runs(known.ratios, known.tokens, known.proxy_gains, gains, seeds,
                proxy_errors=known.proxy_errors)  # fmt: skip
