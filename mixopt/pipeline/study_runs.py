"""The real runs that a study's proposals use: those of its validation, and what its budget bought."""

from collections.abc import Callable, Sequence

from mixopt.artifacts.store import MissingArtifactError
from mixopt.errors import RunError, StorageError, UnreachableError, one_line
from mixopt.io.proposal_files import proposal_name, remove_further_proposals
from mixopt.optimization.outliers import describe_outlying_trials
from mixopt.pipeline.budget import spend_budget
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.method_search import MethodResult
from mixopt.pipeline.milestones import report_proposals
from mixopt.pipeline.propose import build_proposals
from mixopt.pipeline.proxy_trust import SurrogatePolicy
from mixopt.pipeline.results import write_result
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.validate import ValidationResult, validate
from mixopt.proposal import Proposal
from mixopt.trials import Trials


class StudyRuns:
    """The real runs of a study, trained by this process or found in its store.

    A validation is of proposals that know none of these runs, and a budget starts from what the
    validation found. So which runs are asked for depends on nothing that was trained after them, and a
    later process finds them again.

    Args:
        context: The study.
        search: The experts.
        policy: Fits surrogates, without real runs.
        method: What a method of others found, if the study names one.

    Attributes:
        before_validation: The policy that knows no run but those of the method.
        before_budget: The policy that knows the validation too, if there was one.
        policy: The policy that knows all runs.
    """

    def __init__(
        self,
        context: StudyContext,
        search: CandidateSearch,
        policy: SurrogatePolicy,
        method: MethodResult | None = None,
    ) -> None:
        self._context, self._search = context, search
        if method is not None:
            policy = policy.with_recommendation(
                method.recommendation, method.observations, method.online_tokens
            )
        self.before_validation = self.before_budget = self.policy = policy
        self._bought: list[Observation] | None = None

    @property
    def is_validated(self) -> bool:
        """Whether the runs of a validation are used."""
        return self.before_budget is not self.before_validation

    def validate(
        self, proposal: Proposal, trials: Trials, context: StudyContext | None = None
    ) -> ValidationResult:
        """Compare the proxies with models that are trained on mixtures, and use these runs from now on.

        Args:
            proposal: One of the mixtures.
            trials: Of the search.
            context: The study, if its runs are only to be found.

        Raises:
            ConfigError: The study has no `validation` section.
            DivergedError: Too few runs were trained without diverging.
        """
        known = self.before_validation
        result = validate(context or self._context, self._search, proposal, trials, known)
        self.before_budget = known.with_runs(result.validation, result.means, result.by_seed)
        self._join()
        for runs in result.by_seed:
            for sentence in describe_outlying_trials(runs):
                self._context.callbacks.warning(sentence)
        if self.before_budget.doubt is not None:
            self._context.callbacks.warning(self.before_budget.doubt, "ratios")
        return result

    def spend(
        self, proposals: Sequence[Proposal], trials: Trials, context: StudyContext | None = None
    ) -> list[Observation]:
        """Spend the study's budget and use the runs that it buys from now on, instead of earlier ones.

        Args:
            proposals: Candidates beside ensembles and merges.
            trials: Of the search.
            context: The study, if its runs are only to be found.

        Raises:
            RunError: Natural could not be trained.
        """
        context = context or self._context
        known = self.before_budget
        self._bought = spend_budget(context, self._search, known, trials, proposals)
        self._join()
        return self._bought

    def propose(
        self, policy: SurrogatePolicy, trials: Trials, *, before: bool = False
    ) -> list[Proposal]:
        """Return the proposals of a policy, best first, and write and report them.

        Args:
            policy: Knows all runs, or those before a stage.
            trials: Of the search.
            before: Whether a stage follows; then they replace no proposals of an earlier command, which
                may know its runs already.
        """
        callbacks = self._context.callbacks
        callbacks.begin("proposal")
        proposals = build_proposals(self._context, self._search, policy, trials)
        output = callbacks.output
        if output is not None and not (before and (output / proposal_name(1)).exists()):
            for number, proposal in enumerate(proposals, start=1):
                write_result(callbacks, proposal_name(number), proposal.to_json())
            remove_further_proposals(output, len(proposals))
        report_proposals(self._context, proposals)
        return proposals

    def find(self, trials: Trials) -> None:
        """Use the runs of validation and budget that are trained already; train nothing.

        Runs of a validation or of a budget are used if all of them are there. What is not used is told.

        Args:
            trials: Of the search.
        """
        config, finding = self._context.config, self._context.only_finding()
        self._context.callbacks.begin("proposal")

        def build(policy: SurrogatePolicy) -> list[Proposal]:
            return build_proposals(self._context, self._search, policy, trials)

        if config.validation is not None and not self.is_validated:
            (first, *_) = build(self.before_validation)
            # without the runs of its validation a study's budget buys other runs
            if not self._look("validate", lambda: self.validate(first, trials, finding)):
                return
        if config.budget is not None and self._bought is None:
            proposals = build(self.before_budget)
            self._look("spend", lambda: self.spend(proposals, trials, finding))

    def _look(self, verb: str, use: Callable[[], object]) -> bool:
        """Use runs if they are trained; return whether they are."""
        try:
            use()
        except MissingArtifactError:
            why = f"not all of them are trained (`mixopt {verb}` trains them)"
        except (StorageError, UnreachableError):
            raise
        except RunError as error:
            why = one_line(error, limit=None)
        else:
            return True
        what = "validation" if verb == "validate" else "budget"
        self._context.callbacks.message(f"The proposal uses no run of the {what}: {why}")
        return False

    def _join(self) -> None:
        own = self.before_validation.observations
        self.policy = self.before_budget
        if self._bought is not None:
            self.policy = self.before_budget.with_observations([*own, *self._bought])
