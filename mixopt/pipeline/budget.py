"""Spends a study's budget of training: one run at a time, where it raises the expected gain most.

Natural is trained with two seeds first. Then each run is the one that is worth most for its tokens: a
candidate, a longer run, another seed. At the end unused seeds of the best candidate and of natural are
trained, whose number was fixed before.

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
from mixopt.errors import RunError, one_line
from mixopt.mixture import Array, Mixture
from mixopt.optimization.acquisition import value_of_runs
from mixopt.optimization.decision import TIE
from mixopt.pipeline.confirmation import confirmation_of, trainable_lengths
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.decide import VALIDATED, list_candidates, list_observations
from mixopt.pipeline.gain_curve import choose, count_runs, estimate_gain
from mixopt.pipeline.gains import Observation, StudyGains, reaches_natural
from mixopt.pipeline.mixture_runs import (
    FRESH,
    RunSpec,
    ScoredRun,
    has_ended,
    has_text,
    name_mixture,
    train_runs,
)
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.purchase import Purchase
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.stored_purchases import find_stored_purchases, specify_purchase
from mixopt.proposal import Proposal
from mixopt.surrogates.gain_model import SAME, Mixtures, Runs
from mixopt.trials import Trials

CONSIDERED = 12  # candidates with the highest expected gains of which runs are considered
ENOUGH_MISSES = 2  # runs in turn that promise less than a tie, after which nothing more is bought


class BudgetSpender:
    """Buys runs until the budget is spent or nothing is worth its tokens.

    Args:
        context: The study; it has a budget.
        gains: What is known of gains before any run.
        candidates: Mixtures that may be chosen (`q x d`).
        known: Runs that were trained before: candidates of the search, and of a validation.
        paid: Tokens of training that a method of others took beside experts and runs.

    Attributes:
        observations: What was trained, with its scores; none of them for a run that failed.
        spent: Tokens of training so far, experts included.
    """

    def __init__(
        self,
        context: StudyContext,
        gains: StudyGains,
        candidates: Array,
        known: Sequence[Observation] = (),
        paid: int = 0,
    ) -> None:
        self._context, self._gains, self._candidates = context, gains, candidates
        self._known = [*known]
        config = context.config
        self._lengths = trainable_lengths(context)
        self._budget = config.budget_tokens
        # with a rate that decays a checkpoint is no run, and a long run tells nothing of a short one
        self._decays = config.training.decays
        trained = [name for name in context.compositions if name not in context.given_experts]
        self._paid = len(trained) * config.training.expert_length + paid
        self._ended: dict[RunSpec, ScoredRun | Exception] = {}
        self._stored: list[RunSpec] = []
        self._reserve = self._confirmed = 0
        self._reported = -1  # observations when the best mixture was reported last
        self._reset()
        self._beside_experts = self._budget - self.spent

    def _reset(self) -> None:
        """Return to what is known before anything is bought."""
        self.spent = self._paid
        self.observations: list[Observation] = []
        self._trained: dict[tuple[str, int], set[int]] = {}
        self._failures: dict[tuple[str, int], str] = {}
        for each in self._known:
            if each.seed < VALIDATED:  # candidates of the search, which the budget pays for
                name = name_mixture(self._mixture(each.ratios))
                if (name, each.seed) not in self._trained:  # checkpoints are parts of one run
                    self.spent += self._lengths[0]
                self._trained[name, each.seed] = {self._lengths[0]}
                if each.failed:
                    # a seed of natural that failed tells of no gain, and its mixture is not bought
                    self._failures[name, each.seed] = "it failed in the search"
        self._used: set[RunSpec] = set()
        self._misses = 0

    def spend(self) -> list[Observation]:
        """Train what the budget buys; return all runs at all their lengths.

        Raises:
            RunError: Natural could not be trained.
        """
        self._train_natural()
        mixtures = [self._mixture(row) for row in (self._gains.natural, *self._candidates)]
        self._order = {mixture: place for place, mixture in enumerate(mixtures)}
        stored = find_stored_purchases(self._context, self._lengths, mixtures)
        self._stored = [spec for spec in stored if not self._is_known(spec)]
        self._reserve, self._confirmed = confirmation_of(
            self._context.config, self._lengths, self._beside_experts,
            self._budget - self.spent - _count_tokens(self._stored),
        )  # fmt: skip
        while self._buy():
            self._reset()
            self._train_natural()
        self._confirm()
        if self._failures and self._gains.observe(self._all) is None:
            self._context.callbacks.warning(
                "No candidate could be trained, so ensembles of the experts alone tell: "
                f"{next(iter(self._failures.values()))}",
                "ratios",
            )
        return self.observations

    def _train_natural(self) -> None:
        """Train natural's first runs."""
        short, natural = self._lengths[0], self._gains.natural
        seeds = [s for s in range(NATURAL_SEEDS) if not self._is_trained(natural, s, short)]
        self._train([(natural, seed, short) for seed in seeds])
        if not any(_same(each.ratios, natural) and not each.failed for each in self._all):
            raise RunError(
                "The natural mixture could not be trained, and every gain is measured against it: "
                f"{next(iter(self._failures.values()))}"
            )

    @property
    def _all(self) -> list[Observation]:
        return [*self._known, *self.observations]

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
            specs = [self._specify(*row) for row in rows]
            new = [
                spec
                for spec in specs
                if spec not in self._ended and not has_ended(self._context, spec)
            ]
            unused = {spec for spec in self._stored if spec not in self._used}
            # of a batch that was killed the store has a part
            if unused and (new or not batch) and not goes_on and not unused <= {*specs}:
                self._use(unused)
                # one more choice without promise ends it: a mixture may be bought in vain once already
                goes_on, self._misses = True, ENOUGH_MISSES - 1
                continue
            if not batch:
                return False
            if any(spec not in self._ended for spec in specs):  # not said before
                for purchase in batch:
                    self._context.callbacks.message(f"next: {purchase.describe()}")
            self._train(rows)
            self._stored += new
            if goes_on and new:
                return True

    def _use(self, stored: Collection[RunSpec]) -> None:
        """Read runs that an earlier command bought, as far as the budget pays for them."""
        rows, left = [], self._budget - self._reserve - self.spent
        for spec in sorted(stored, key=lambda s: (self._order[s.ratios], s.seed, s.checkpoints)):
            if (tokens := spec.checkpoints[-1]) <= left:
                left -= tokens
                rows.append((spec.ratios.vector(self._context.config.domains), spec.seed, tokens))
        self._train(rows)

    def _choose(self) -> list[Purchase]:
        """Return the most valuable runs for their tokens, a batch of them; [] for none."""
        combinations = self._gains.objective.combinations()
        runs = self._gains.observe(self._all)
        asked = self._gains.mixtures(self._candidates, self._gains.tokens)
        left = self._budget - self._reserve - self.spent
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
            worth = values / np.array([purchase.price for _, purchase in options])
            best = int(worth.argmax())
            if values[best] <= 0:
                break
            tie = TIE * self._gains.objective.usual_gain
            self._misses = 0 if values.max() >= tie else self._misses + 1
            batch.append(replace(options[best][1], value=float(values[best])))
            left -= batch[-1].price
            # a result at its expectation stands for a run that is still in training
            row = at.pick([best])
            runs = _append(runs, row, posterior.over_natural.gains(row)[0], batch[-1].seed)
            if self._misses >= ENOUGH_MISSES:
                break
        return batch

    def _list_runs(self, batch: Sequence[Purchase]) -> list[tuple[Array, int, int]]:
        """Return what a batch trains: mixtures (`d`), seeds and tokens, each run of natural once."""
        wanted: dict[tuple[str, int, int], tuple[Array, int, int]] = {}
        for purchase in batch:
            ratios = purchase.ratios.vector(self._context.config.domains)
            seed, tokens = purchase.seed, purchase.tokens
            for row in (self._gains.natural, ratios):
                if self._is_trained(row, seed, tokens):
                    continue
                # at a constant rate the longest run has the others as checkpoints
                key = name_mixture(self._mixture(row)), seed, tokens if self._decays else 0
                if key not in wanted or wanted[key][2] < tokens:
                    wanted[key] = row, seed, tokens
        return [*wanted.values()]

    def _report_best(self, asked: Mixtures, runs: Runs | None) -> None:
        """Report what the decision would be about now, in its numbers."""
        if self._reported >= len(self._all):  # also where choices are made again
            return
        self._reported = len(self._all)
        context, gains = self._context, self._gains
        _, draws, choice = choose(context, gains, asked, runs)
        count = count_runs(context, gains, self._all)
        best = BestSoFar(
            self._mixture(self._candidates[choice.candidate]),
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
            if self._failed(self._candidates[place]):
                continue
            for length in self._lengths:
                if not has_text(self._context, mixture, length):
                    continue
                seed = 0
                while (
                    (name_mixture(mixture), seed) in chosen
                    or self._is_trained(self._candidates[place], seed, length)
                    or self._failed(self._gains.natural, seed)
                ):
                    seed += 1
                price = length + self._price_of_natural(seed, length, batch)
                if price <= left:
                    options.append((place, Purchase(mixture, length, seed, price, 0.0)))
        return options

    def _price_of_natural(self, seed: int, tokens: int, batch: Sequence[Purchase]) -> int:
        """Return the tokens of natural that a run needs beside what is trained and what a batch buys."""
        bought = {purchase.tokens for purchase in batch if purchase.seed == seed}
        if self._is_trained(self._gains.natural, seed, tokens) or self._has(bought, tokens):
            return 0
        # a run of natural that this batch trains anyway grows, and one that exists is trained again
        new = [n for n in bought if not self._is_trained(self._gains.natural, seed, n)]
        return tokens if self._decays else tokens - max(new, default=0)

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
        left = [
            row
            for row in self._candidates
            if not self._failed(row)
            and has_text(self._context, self._mixture(row), self._confirmed)
        ]
        if not left:
            return
        # what would be recommended now
        asked = self._gains.mixtures(np.stack(left), self._gains.tokens)
        *_, choice = choose(self._context, self._gains, asked, self._gains.observe(self._all))
        leader = left[choice.candidate]
        self._context.callbacks.message(
            f"Confirmation: the best candidate and natural with {config.confirmation} unused seeds, "
            f"{self._confirmed:,} tokens each."
        )
        seeds = range(FRESH, FRESH + config.confirmation)
        rows = [
            (row, seed, self._confirmed) for seed in seeds for row in (self._gains.natural, leader)
        ]
        self._train(rows)

    def _describe_limit(self) -> str:
        """Return what a confirmation would take more of than there is."""
        alone, _ = confirmation_of(self._context.config, self._lengths, self._beside_experts)
        if alone:
            return "the runs that an earlier command trained leave of the budget"
        return "half of what the budget leaves beside the experts"

    def _train(self, rows: Sequence[tuple[Array, int, int]]) -> None:
        """Train mixtures (`d`) with seeds for some tokens; a run that fails is reported and left out."""
        domains = self._context.config.domains
        specs = [self._specify(*each) for each in rows]
        for spec in specs:
            trained = self._trained.setdefault((name_mixture(spec.ratios), spec.seed), set())
            trained.add(spec.checkpoints[-1])
        self.spent += _count_tokens(specs)
        self._used.update(specs)
        now = [spec for spec in specs if spec not in self._ended]
        # several workers end in an order of their own, and what follows is that of one worker
        self._ended |= dict(train_runs(self._context, now))
        for spec in specs:
            scored = self._ended[spec]
            if isinstance(scored, ScoredRun):
                self._observe(scored)
                continue
            cause = one_line(scored, limit=None)
            self._failures[name_mixture(spec.ratios), spec.seed] = cause
            self.observations.append(self._failure(spec))
            if spec in now:
                natural = _same(spec.ratios.vector(domains), self._gains.natural)
                name = f"of the natural mixture with seed {spec.seed}" if natural else spec.name
                self._context.callbacks.warning(f"The run {name} is left out: {cause}", "ratios")

    def _specify(self, row: Array, seed: int, tokens: int) -> RunSpec:
        mixture = self._mixture(row)
        return specify_purchase(self._context, self._lengths, mixture, seed, tokens)

    def _is_known(self, spec: RunSpec) -> bool:
        """Return whether the study has a run before it buys any."""
        row = spec.ratios.vector(self._context.config.domains)
        return self._is_trained(row, spec.seed, spec.checkpoints[-1])

    def _failure(self, spec: RunSpec) -> Observation:
        row = spec.ratios.vector(self._context.config.domains)
        missing = np.full(len(self._gains.metrics), np.nan)
        return Observation(row, spec.seed, spec.checkpoints[-1], missing)

    def _observe(self, scored: ScoredRun) -> None:
        scorer = self._context.scorer
        row = scored.spec.ratios.vector(self._context.config.domains)
        # lengths are rounded to whole steps, the same for every run
        for tokens, logprobs in scored.logprobs.items():
            results = scorer.read(logprobs)
            scores = np.array([results[metric.name].score for metric in self._gains.metrics])
            known = Observation(row, scored.spec.seed, tokens, scores)
            seen = [(o.seed, o.tokens, _same(o.ratios, row)) for o in self._all if not o.failed]
            if (known.seed, tokens, True) not in seen:
                self.observations.append(known)

    def _failed(self, row: Array, seed: int | None = None) -> bool:
        """Return whether a run of a mixture failed, with one seed or with any."""
        name = name_mixture(Mixture.from_vector(self._context.config.domains, row))
        return any(own == name and seed in (None, number) for own, number in self._failures)

    def _is_trained(self, row: Array, seed: int, tokens: int) -> bool:
        """Return whether a mixture was trained for some tokens with a seed, also where that failed."""
        return self._has(self._trained.get((name_mixture(self._mixture(row)), seed), ()), tokens)

    def _has(self, lengths: Collection[int], tokens: int) -> bool:
        """Return whether runs of some lengths are scored at `tokens`."""
        return tokens in lengths if self._decays else max(lengths, default=0) >= tokens

    def _mixture(self, row: Array) -> Mixture:
        return Mixture.from_vector(self._context.config.domains, row)


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
    return BudgetSpender(context, gains, candidates, known, policy.online_tokens).spend()


def _count_tokens(specs: Collection[RunSpec]) -> int:
    return sum(spec.checkpoints[-1] for spec in specs)


def _same(one: Array, other: Array) -> bool:
    return bool(np.abs(one - other).max() < SAME)


def _append(runs: Runs | None, row: Mixtures, gains: Array, seed: int) -> Runs:
    known = row if runs is None else runs.join(row)
    gains = gains if runs is None else np.vstack([runs.gains, gains])
    seeds = np.array([seed]) if runs is None else np.append(runs.seeds, seed)
    return Runs(known.ratios, known.tokens, known.proxy_gains, gains, seeds,
                proxy_errors=known.proxy_errors)  # fmt: skip
