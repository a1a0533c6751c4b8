"""Validating: proxy runs really trained, and how the proxies rank them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mixopt.callbacks.callback_list import CallbackList
from mixopt.config.study import StudyConfig
from mixopt.errors import ConfigError, DivergedError
from mixopt.executors.job import Job, JobDispatcher
from mixopt.mixture import Mixture
from mixopt.optimization.design import spread
from mixopt.optimization.proxy_validation import (
    Prices,
    mean_over_seeds,
    validate_trials,
    weigh_purchases,
)
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.results import to_json, write_result
from mixopt.pipeline.search import UNREACHED, CandidateSearch
from mixopt.pipeline.surrogate_policy import SurrogatePolicy
from mixopt.proposal import Proposal
from mixopt.surrogates.registry import FEWEST_TRIALS
from mixopt.trials import Kind, Score, Trial, Trials
from mixopt.validation import Cost, Purchase, Validation

if TYPE_CHECKING:
    from mixopt.pipeline.laboratory import Laboratory
    from mixopt.training.training_run import TrainingResult

FEWEST_MIXTURES = 4


@dataclass(frozen=True, eq=False)
class Validator:
    """Trains proxy runs and holds the proxies against them.

    Attributes:
        recipe: The study's.
        laboratory: Finds what was trained and scored.
        crew: Trains.
        searcher: Scores the proxies.
        callbacks: Called for each run.
        experts: What the search was built on, for its cost.
    """

    recipe: StudyConfig
    laboratory: "Laboratory"
    crew: JobDispatcher
    searcher: CandidateSearch
    callbacks: CallbackList
    experts: Sequence["TrainingResult"]

    @classmethod
    def of(cls, ground: StudyContext, crew: JobDispatcher | None = None) -> "Validator":
        """On what a study stands on."""
        return cls(ground.recipe, ground.laboratory, crew or ground.crew, ground.searcher,
                   ground.callbacks, list(ground.experts.values()))  # fmt: skip

    def validate(
        self, proposal: Proposal, trials: Trials, learner: SurrogatePolicy
    ) -> tuple[Validation, Trials]:
        """What really trained proxy runs say of `proposal` and of the proxies behind `trials`.

        And the runs as trials, one for each mixture (its seeds' mean).

        Raises:
            RecipeError: The recipe asks for no validation.
            DivergedError: Too few runs were trained without diverging.
        """
        wanted = self.recipe.validation
        if wanted is None:
            raise ConfigError(
                "The study has no `validation` section; add one (mixtures: 6, seeds: 2) to train "
                "proxy runs."
            )
        mixtures = self.choose_mixtures(proposal)
        trained: dict[int, dict[str, Trial]] = {seed: {} for seed in range(wanted.seeds)}
        flops = 0.0
        jobs = self.list_jobs(mixtures)
        made = [(job, None) for job in jobs if self._is_trained(job)]
        found = [job for job, _ in made]
        lacking = (
            job for job in jobs
            # another seed of its mixture may have diverged by now
            if job not in found and job.arguments[0].removesuffix(f"-{job.arguments[2]}") in mixtures
        )  # fmt: skip
        done = chain(made, self.crew.do(lacking))
        runs = tqdm(done, desc="proxy runs", unit="run", total=len(jobs), leave=False)
        for job, error in runs:
            title, _, seed = job.arguments
            name = title.removesuffix(f"-{seed}")
            if error is not None:
                why = " ".join(str(error).split()) or type(error).__name__
                self.callbacks.message(f"Mixture {name!r} is left out of the validation: {why}")
                mixtures.pop(name, None)
            if name not in mixtures:
                continue
            run, results = self.laboratory.train_proxy_run(title, mixtures[name], seed)
            self.callbacks.on_model_trained("proxy run", title, run, mixtures[name])
            scores = {m: Score(r.score, r.std_error) for m, r in results.items()}
            trained[seed][name] = Trial(name, mixtures[name], scores, seed=seed,
                                        tokens=run.outcome.tokens, flops=run.outcome.flops)  # fmt: skip
            flops = run.outcome.flops
        self._require_enough(mixtures)
        proxies = self._score_proxies(mixtures)
        self._require_enough(mixtures)
        metrics, domains = self.searcher.swarm.scorer.metrics, self.recipe.domains
        tables = [
            Trials([rows[name] for name in mixtures], metrics, domains) for rows in trained.values()
        ]
        frames = [table.to_frame() for table in tables]
        for seed, frame in enumerate(frames):  # a mixture's seeds are runs of their own
            frame["id"] = frame["id"] + f"-{seed}"
        write_result(self.callbacks, "proxy-runs.csv", pd.concat(frames).to_csv(index=False))
        validation = validate_trials(
            proxies,
            tables,
            utility=lambda scale: learner.utility(scale, trials),
            cost=self._count_cost(trials.where(kind="merged"), tables[0][0].tokens, flops),
            result=wanted.result,
        )
        means = mean_over_seeds(tables)
        validation = replace(
            validation, purchases=self._weigh_purchases(validation, trials, means, learner, flops)
        )
        write_result(self.callbacks, "validation.json", to_json(validation.to_dict()))
        return validation, means

    def _is_trained(self, job: Job) -> bool:
        title, ratios, seed = job.arguments
        return self.laboratory.has_proxy_run(title, Mixture(ratios), seed)

    def _require_enough(self, mixtures: Mapping[str, Mixture]) -> None:
        if len(mixtures) < FEWEST_MIXTURES:
            raise DivergedError(
                f"{len(mixtures)} mixtures were trained and scored and at least {FEWEST_MIXTURES} are "
                "needed to rank; lower training.learning_rate, or mend what failed, and run again."
            )

    def _weigh_purchases(
        self,
        validation: Validation,
        trials: Trials,
        runs: Trials,
        learner: SurrogatePolicy,
        run_flops: float,
    ) -> tuple[Purchase, ...]:
        proxy = self.recipe.search.proxy
        overall = validation.overall(proxy)
        assert overall is not None
        run_tokens = runs[0].tokens / validation.seeds
        count = len(trials.where(kind=proxy))
        enough = len(runs) >= FEWEST_TRIALS
        return weigh_purchases(
            overall,
            surrogate=learner.fit(trials),
            corrected=learner.fit_table(trials + runs) if enough else None,
            truth=np.array(validation.utilities),
            trials=count,
            runs=len(runs) * validation.seeds,
            prices=Prices(
                sum(expert.outcome.tokens for expert in self.experts),
                self.searcher.swarm.flops_per_score / run_flops * run_tokens if run_flops else 0.0,
                run_tokens,
            ),
        )

    def list_jobs(self, mixtures: Mapping[str, Mixture]) -> list[Job]:
        """The proxy runs, seed by seed."""
        assert self.recipe.validation is not None
        return [
            Job("train_proxy_run", (f"{name}-{seed}", dict(mixture), seed),
                f"proxy run {name}-{seed}", trains=True)
            for seed in range(self.recipe.validation.seeds)
            for name, mixture in mixtures.items()
        ]  # fmt: skip

    def choose_mixtures(self, proposal: Proposal) -> dict[str, Mixture]:
        """Natural, uniform, the proposal, and mixtures spread out from these, by name."""
        assert self.recipe.validation is not None
        n = self.recipe.validation.mixtures
        fixed = {
            "natural": self.laboratory.natural,
            "uniform": Mixture.uniform(self.recipe.domains),
            "proposal": proposal.ratios,
        }
        start = np.stack([mixture.vector(self.recipe.domains) for mixture in fixed.values()])
        rng = np.random.default_rng([self.recipe.seed, 1_000_002])
        rows = spread(self.searcher.space, start, n - len(fixed), rng)
        others = {f"spread-{i:02d}": self.searcher.to_mixture(row) for i, row in enumerate(rows)}
        return fixed | others

    def _score_proxies(self, mixtures: dict[str, Mixture]) -> dict[Kind, Trials]:
        """Proxies' trials of the mixtures; those that could not be scored whole are left out of both."""
        rows: dict[Kind, list[Trial]] = {"merged": [], "ensembled": []}
        found = {}
        for name, mixture in mixtures.items():
            found[name], miss = self.searcher.space.weights_for(mixture.vector(self.recipe.domains))
            if miss > UNREACHED:
                self.callbacks.message(
                    f"The experts cannot make the {name} mixture; the nearest one stands for it in "
                    f"the proxies, {miss:.3f} off in the worst ratio."
                )
        scored = tqdm(
            self.searcher.swarm.score_all([weights.tolist() for weights in found.values()]),
            desc="scoring proxies", unit="mixture", total=len(found), leave=False,
        )  # fmt: skip
        names = {metric.name for metric in self.searcher.swarm.scorer.metrics}
        for (name, weights), results in zip(found.items(), scored, strict=True):
            if results.get("merged", {}).keys() < names:
                self.callbacks.message(
                    f"Mixture {name!r} is left out of the validation: its merge failed."
                )
                del mixtures[name]
                continue
            for kind, table in rows.items():
                table.append(self.searcher.to_trial(name, kind, weights, results[kind], 0))
        metrics = self.searcher.swarm.scorer.metrics
        return {kind: Trials(table, metrics, self.recipe.domains) for kind, table in rows.items()}

    def _count_cost(self, searched: Trials, run_tokens: int, run_flops: float) -> Cost:
        score = self.searcher.swarm.flops_per_score
        outcomes = [expert.outcome for expert in self.experts]
        return Cost(
            search_tokens=sum(outcome.tokens for outcome in outcomes),
            search_flops=sum(outcome.flops for outcome in outcomes)
            + sum(trial.flops for trial in searched),
            trained_tokens=len(searched) * run_tokens,
            trained_flops=len(searched) * (run_flops + score),
        )
