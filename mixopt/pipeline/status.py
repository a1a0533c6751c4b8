"""What of a study is done, running, failed and left, and why it would be built again.

The stages are walked over a read-only store. What is done is what a run would find; the first artifact
that a run would build ends the walk.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from mixopt.artifacts.artifact import Artifact, ArtifactRecord, describe_changes
from mixopt.artifacts.store import ArtifactStore, MissingArtifactError
from mixopt.errors import MixoptError
from mixopt.pipeline.budget import spend_budget
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.exports import with_known_paths
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.method_search import MethodResult, run_method
from mixopt.pipeline.objective import open_policy, require_objective
from mixopt.pipeline.propose import build_proposals, proposals_artifact
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.search import CandidateSearch, open_search
from mixopt.pipeline.status_rows import StatusRow, export_row, model_row, needs, sum_costs
from mixopt.pipeline.training_costs import Trainings
from mixopt.pipeline.validate import list_runs, validate
from mixopt.proposal import Proposal
from mixopt.trials import Trials

if TYPE_CHECKING:
    from mixopt.study import Study


def study_status(study: "Study") -> list[StatusRow]:
    """Return what of `study` is done and what is not, in the order of its stages; build nothing.

    Args:
        study: Without phases; its folder and cache are read, and nothing is written.

    Returns:
        A row for each text, model, round, proposal, export and the report.

    Raises:
        DataError: Its text cannot be read.
    """
    return StageWalk(study).rows()


class StageWalk:
    """The stages of one study, read from its store.

    Args:
        study: Without phases.

    Attributes:
        answer: The study's proposal where a run would find it; known after `rows`.
    """

    def __init__(self, study: "Study") -> None:
        self._study, self._config = study, study.config
        self.answer: Proposal | None = None
        self._listed: set[tuple[str, str]] = set()

    @cached_property
    def context(self) -> StudyContext:
        """The study's, which builds nothing."""
        return StudyContext(self._config, self._study.environment, read_only=True)

    @property
    def _store(self) -> ArtifactStore:
        return self.context.store

    def rows(self) -> list[StatusRow]:
        """Return all parts, in order."""
        try:
            _ = self.context
        except MissingArtifactError as missing:  # of a base or an expert in a GGUF file
            config = self._config
            names = [f"text {domain}" for domain in config.domains]
            names += [f"expert {name}" for name in config.training.compositions or config.domains]
            why = needs(missing.artifact)
            return [StatusRow(name, "left", why=why) for name in (*names, *self._stage_names())]
        return list(self._rows())

    def _rows(self) -> Iterator[StatusRow]:
        for what, store, kind, name, artifact in self._models():
            self._listed.add((kind, name))
            yield model_row(what, store, artifact)
        yield from self._stages_until_missing()
        for failure in self._store.failures():
            if (failure.kind, failure.name) not in self._listed:
                why = f"{failure.cause} (tried {failure.times} times)"
                yield StatusRow(f"{failure.kind} {failure.name}", "failed", why=why)

    def _stages_until_missing(self) -> Iterator[StatusRow]:
        yielded: list[str] = []
        why = ""
        try:
            for row in self._stages():
                yielded.append(row.what)
                yield row
        except MissingArtifactError as missing:
            why = needs(missing.artifact)
            change = self._store.explain_rebuild(missing.artifact)
            why += f": {change}" if change else ""
        except MixoptError as error:
            why = str(error)
        # all later stages are left
        for name in self._stage_names():
            if name not in yielded:
                yield StatusRow(name, "left", why=why)

    def _stage_names(self) -> list[str]:
        rounds = [f"round {number}" for number in range(1, len(self._config.search.rounds) + 1)]
        validated = self._config.validation is not None
        if self._config.published_method is not None:
            rounds.append(f"method {self._config.published_method}")
        first = ["first proposal", "proxy runs"] if validated else []
        if self._config.budget is not None:
            first += ["proposal before the budget", "runs of the budget"]
        exports = [f"export {wanted.out}" for wanted in self._config.exports]
        return [*rounds, *first, "proposal", *exports, "report.html"]

    def _models(
        self,
    ) -> Iterator[tuple[str, ArtifactStore, str, str, Callable[[], Artifact | None]]]:
        """Yield row name, store, kind and name of each model and text, and what names its artifact."""
        from mixopt.pipeline.training_runs import base_run, expert_run

        context, config = self.context, self._config
        corpora = context.corpora
        if corpora.tokenizer_artifact is not None:
            yield "tokenizer", self._store, "tokenizers", "bpe", lambda: corpora.tokenizer_artifact

        def name_base() -> Artifact | None:
            run = base_run(context)
            return None if run is None else run.artifact

        for domain in corpora.by_domain:
            name_corpus = partial(corpora.corpus_artifact, domain)
            yield f"text {domain}", context.cache, "corpora", domain, name_corpus
        if config.base.kind == "build":
            yield "base", self._store, "base", "base", name_base
        for name in config.training.compositions or config.domains:

            def name_expert(name: str = name) -> Artifact | None:
                given = context.given_expert(name)
                return None if given else expert_run(context, name).artifact

            yield f"expert {name}", self._store, "experts", name, name_expert

    def _stages(self) -> Iterator[StatusRow]:
        search = open_search(self.context)
        policy = open_policy(self.context, search)
        trials = search.no_trials
        for number, count in enumerate(self._config.search.rounds, start=1):
            row, trials = self._round(search, policy, number, count, trials)
            yield row
            if row.state in ("left", "running"):
                return
        own = tuple[Observation, ...]()
        if self._config.published_method is not None:
            row, found = self._method(search, policy)
            yield row
            if found is None:
                return
            own = found.observations
            policy = policy.with_recommendation(found.recommendation, own, found.online_tokens)
        if self._config.validation is not None:
            row, first = self._proposals("first proposal", search, policy, trials)
            yield row
            if not first:
                return
            row, corrected = self._proxy_runs(search, first[0], trials, policy)
            yield row
            if corrected is None:
                return
            policy = corrected
        if self._config.budget is not None:
            row, first = self._proposals("proposal before the budget", search, policy, trials)
            yield row
            if not first:
                return
            bought = spend_budget(self.context, search, policy, trials, first)
            trainings = Trainings(self.context)
            done, failed = (
                {trainings.name(each) for each in bought if each.failed is kind}
                for kind in (False, True)
            )
            why = f"{len(done)} trained" + (f", {len(failed)} failed" if failed else "")
            yield StatusRow("runs of the budget", "done", why=why)
            policy = policy.with_observations([*own, *bought])
        row, proposals = self._proposals("proposal", search, policy, trials)
        current = bool(proposals) and self._is_current(proposals[0])
        yield row if current or not proposals else replace(row, state="left")
        for wanted in with_known_paths(self._config) if proposals else ():
            yield export_row(self._study, wanted, proposals[0])
        if proposals:
            self.answer = proposals[0]
            yield StatusRow("report.html", "done" if current and self._is_reported() else "left")

    def _round(
        self,
        search: CandidateSearch,
        policy: SurrogatePolicy,
        number: int,
        count: int,
        before: Trials,
    ) -> tuple[StatusRow, Trials]:
        """Return a round of candidates, and the trials with it where none would be scored now."""
        fitted, trust = partial(policy.fit, before), policy.trust(before)
        chosen = search.choose(number, count, before, fitted, trust)
        artifacts = search.list_artifacts(chosen)
        states = [self._store.state(artifact) for artifact in artifacts]
        records = [self._store.record(artifact) for artifact in artifacts]
        what = "experts" if search.method == "ensemble" else "candidates"
        why = f"{states.count('done')} of {len(artifacts)} {what} scored" if artifacts else ""
        row = StatusRow(f"round {number}", "done", *sum_costs(records), why)
        if "running" in states:
            return replace(row, state="running"), before
        if "missing" in states:
            change = self._explain_rescoring(artifacts[states.index("missing")])
            return replace(row, state="left", why=f"{row.why}{change}"), before
        trials = before + search.score(chosen)
        return replace(row, state="failed" if "failed" in states else "done"), trials

    def _method(
        self, search: CandidateSearch, policy: SurrogatePolicy
    ) -> tuple[StatusRow, MethodResult | None]:
        """Return the method of others, and what it found where it would not be run now."""
        what = f"method {self._config.published_method}"
        try:
            found = run_method(self.context, search, require_objective(policy))
        except MissingArtifactError as missing:
            own = missing.artifact
            if own.kind != "recommendations":
                raise
            self._listed.add((own.kind, own.name))
            return model_row(what, self._store, lambda: own), None
        return StatusRow(what, "done"), found

    def _explain_rescoring(self, artifact: Artifact) -> str:
        folders = list(self._store.list_kind(artifact.kind))
        latest = max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
        record = None if latest is None else ArtifactRecord.read(latest)
        if record is None:
            return ""
        same = {"weights": None}
        changes = describe_changes({**record.key, **same}, {**artifact.full_key, **same})
        return f"; {changes}" if changes else ""

    def _proposals(
        self, what: str, search: CandidateSearch, policy: SurrogatePolicy, trials: Trials
    ) -> tuple[StatusRow, list[Proposal]]:
        artifact = proposals_artifact(self.context, search, policy, trials)
        if self._store.find(artifact) is None:
            return StatusRow(what, "left"), []
        row = StatusRow(what, "done", *sum_costs([self._store.record(artifact)]))
        return row, build_proposals(self.context, search, policy, trials)

    def _proxy_runs(
        self, search: CandidateSearch, proposal: Proposal, trials: Trials, policy: SurrogatePolicy
    ) -> tuple[StatusRow, SurrogatePolicy | None]:
        """Return the proxy runs, and the policy that uses them where none would be trained now."""
        runs = list_runs(self.context, search, proposal)
        artifacts = {each: each.run.artifact for each in runs}
        self._listed |= {("proxy-runs", artifact.name) for artifact in artifacts.values()}
        states = {each: self._store.state(artifact) for each, artifact in artifacts.items()}
        failed = {each.mixture: each for each, state in states.items() if state == "failed"}
        done = [self._store.record(artifacts[each]) for each in runs if states[each] == "done"]
        row = StatusRow("proxy runs", "done", *sum_costs(done),
                        f"{len(done)} of {len(runs)} trained")  # fmt: skip
        # a mixture with a failed run is left out with all its seeds
        open_states = {state for each, state in states.items() if each.mixture not in failed}
        if "running" in open_states:
            return replace(row, state="running"), None
        if "missing" in open_states:
            return replace(row, state="left"), None
        found = validate(self.context, search, proposal, trials, policy)
        if failed:
            failure = self._store.failure(artifacts[next(iter(failed.values()))])
            cause = "" if failure is None else f"{failure.cause} (tried {failure.times} times)"
            row = replace(row, state="failed", why=f"{row.why}; {cause}")
        return row, policy.with_runs(found.validation, found.means, found.by_seed)

    def _is_current(self, proposal: Proposal) -> bool:
        file = self._study.output / "proposal.json"
        return file.is_file() and file.read_text(encoding="utf-8") == proposal.to_json()

    def _is_reported(self) -> bool:
        output = self._study.output
        report, proposal = output / "report.html", output / "proposal.json"
        return report.is_file() and report.stat().st_mtime_ns >= proposal.stat().st_mtime_ns
