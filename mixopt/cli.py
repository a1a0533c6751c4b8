"""The command line: one command per verb, over the same functions that Python users call.

Exit codes: 0 done, 1 our failure, 2 the user's mistake; a message is one sentence, no traceback.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mixopt import __version__
from mixopt.errors import MixoptError
from mixopt.runtime.narrator import Narrator

if TYPE_CHECKING:
    from mixopt.study import Study

SPLITS = ("valid", "test")
"""Options of exporters that are lists even of one."""

Command = TypeVar("Command", bound=Callable[..., None])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mixopt")
@click.option("-v", "--verbose", is_flag=True, help="Say more, and show tracebacks.")
@click.pass_context
def main(context: click.Context, verbose: bool) -> None:
    """Find the data mixture for a language model's next training run."""
    context.obj = {"verbose": verbose}
    _set_up_logging(verbose)


def _set_up_logging(verbose: bool) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("mixopt").setLevel(logging.DEBUG if verbose else logging.INFO)
    # peft still asks transformers by names that it calls old; users can do nothing about it
    warnings.filterwarnings("ignore", message=".*deprecated", category=FutureWarning)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def _one_sentence(command: Command) -> Command:
    """The command, its failures told in one sentence with the right exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        verbose = click.get_current_context().find_root().obj["verbose"]
        try:
            command(*args, **kwargs)
        except MixoptError as error:
            if verbose:
                raise
            click.echo(f"mixopt: {error}", err=True)
            sys.exit(error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("mixopt: stopped; what is finished is kept, run again to go on.", err=True)
            sys.exit(130)
        except Exception as error:
            if verbose:
                raise
            click.echo(
                f"mixopt: internal error ({type(error).__name__}: {error}); run again with "
                "`mixopt -v ...` and report the traceback.",
                err=True,
            )
            sys.exit(1)

    return guarded  # type: ignore[return-value]


def _study_options(command: Command) -> Command:
    options = [
        click.argument("study"),
        click.option("-o", "--output", help="Folder of results.  [default: mixopt-runs/NAME]"),
        click.option("--seed", type=click.IntRange(min=0), help="Overrides the study's seed."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ..."),
        click.option("--track/--no-track", default=True, show_default=True, help="Log to MLflow."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _load(
    verb: str, study: str, output: str | None, seed: int | None, device: str, track: bool
) -> "Study":
    from transformers.utils import logging as transformers_logging

    from mixopt.study import Study

    transformers_logging.disable_progress_bar()
    observers: list[Any] = [Narrator(click.echo)]
    if track:
        from mixopt.runtime.tracking import MlflowTracker

        observers.append(MlflowTracker(verb))
    return Study.load(study, output or None, seed=seed, device=device, observers=observers)


@main.command()
@_study_options
@_one_sentence
def run(**options: Any) -> None:
    """The whole road: experts, search, proposal, validation, exports, report.

    STUDY is a YAML file, or `quickstart`.
    """
    study = _load("run", **options)
    study.run()
    click.echo(f"\nProposal  {study.output / 'proposal.json'}")
    click.echo(f"Exports   {study.output / 'exports'}")
    click.echo(f"Report    {study.output / 'report.html'}")


@main.command()
@_study_options
@_one_sentence
def train(**options: Any) -> None:
    """Train the base and the experts."""
    _load("train", **options).train()


@main.command()
@_study_options
@_one_sentence
def search(**options: Any) -> None:
    """Score merges and ensembles of the experts, in rounds."""
    study = _load("search", **options)
    study.search()
    click.echo(f"Trials    {study.output / 'trials.csv'}")


@main.command()
@click.argument("study", required=False)
@click.option(
    "--ratios", type=click.Path(path_type=Path), help="CSV of mixtures, instead of STUDY."
)
@click.option("--metrics", type=click.Path(path_type=Path), help="CSV of their metrics.")
@click.option("--better", multiple=True, metavar="[METRIC=]lower|higher",
              help="With tables: which way is better, for all or by metric.")  # fmt: skip
@click.option("--holdout", multiple=True, metavar="METRIC",
              help="With tables: reported, and never used to choose.")  # fmt: skip
@click.option("--target", default="average", show_default=True,
              help="With tables: average, utility, or one metric.")  # fmt: skip
@click.option("--natural", type=click.Path(path_type=Path),
              help="YAML of domain: ratio; the mean of the runs if left out.")  # fmt: skip
@click.option("--lower", multiple=True, metavar="DOMAIN=RATIO", help="With tables: a lower bound.")
@click.option("--upper", multiple=True, metavar="DOMAIN=RATIO", help="With tables: an upper bound.")
@click.option("-q", "--proposals", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("-o", "--output", help="Folder of results.")
@click.option("--seed", type=click.IntRange(min=0), help="Overrides the study's seed.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ...")
@click.option("--track/--no-track", default=True, show_default=True, help="Log to MLflow.")
@_one_sentence
def propose(study: str | None, **options: Any) -> None:
    """Propose mixtures: for a STUDY, or from a table of runs (--ratios and --metrics)."""
    tables = options["ratios"], options["metrics"]
    if study is None and all(tables):
        _propose_from_tables(**options)
        return
    if study is None or any(tables):
        raise click.UsageError("Give either STUDY, or both --ratios and --metrics.")
    for name in ("better", "holdout", "natural", "lower", "upper"):
        if options[name]:
            raise click.UsageError(f"--{name} goes with tables; a study says it in its YAML.")
    if options["proposals"] != 1:
        raise click.UsageError("--proposals goes with tables; a study says search.proposals.")
    loaded = _load("propose", study, options["output"], options["seed"], options["device"],
                   options["track"])  # fmt: skip
    loaded.propose(loaded.search())
    click.echo(f"Proposal  {loaded.output / 'proposal.json'}")


def _propose_from_tables(**options: Any) -> None:
    import numpy as np

    from mixopt.files import write_text
    from mixopt.mixture import Mixture
    from mixopt.proposals.fitting import fit
    from mixopt.proposals.proposing import propose as propose_mixtures
    from mixopt.space import SearchSpace
    from mixopt.tables import read_trials

    trials = read_trials(
        ratios=options["ratios"],
        metrics=options["metrics"],
        better=_parse_better(options["better"]),
        holdout=options["holdout"],
    )
    if options["natural"]:
        natural = _read_natural(options["natural"])
    else:
        natural = Mixture.from_vector(trials.domains, trials.ratios().mean(axis=0))
        click.echo(
            "No --natural was given; the mean of the runs stands for the natural mixture.", err=True
        )
    seed = options["seed"] or 0
    surrogate = fit(trials, target=options["target"], seed=seed)
    space = SearchSpace(
        trials.domains,
        lower=_parse_bounds(options["lower"], "--lower"),
        upper=_parse_bounds(options["upper"], "--upper"),
        prior=natural,
    )
    proposals = propose_mixtures(
        surrogate, space, q=options["proposals"], rng=np.random.default_rng(seed)
    )
    narrator = Narrator(click.echo)
    narrator.proposed(proposals)
    if options["output"]:
        for number, proposal in enumerate(proposals, start=1):
            name = "proposal.json" if number == 1 else f"proposal-{number}.json"
            path = write_text(Path(options["output"]) / name, proposal.to_json())
            click.echo(f"Written   {path}")


def _read_natural(path: Path) -> Mapping[str, float]:
    from mixopt.errors import RecipeError
    from mixopt.loading import read_yaml
    from mixopt.mixture import Mixture

    plain = read_yaml(path)
    for domain, ratio in plain.items():
        if not isinstance(ratio, int | float):
            raise RecipeError(f"{path}: the ratio of {domain!r} is {ratio!r}, not a number.")
    try:
        return Mixture({str(domain): ratio for domain, ratio in plain.items()})
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None


def _parse_bounds(pairs: Sequence[str], option: str) -> dict[str, float]:
    bounds = {}
    for name, number in _split_pairs(pairs, option, "DOMAIN=RATIO").items():
        try:
            bounds[name] = float(number)
        except ValueError:
            raise click.UsageError(f"{option} {name}={number}: {number!r} is no number.") from None
    return bounds


def _split_pairs(pairs: Sequence[str], option: str, form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise click.UsageError(f"Give each {option} as {form}; {pair!r} is not.")
        if name in found:
            raise click.UsageError(f"{option} names {name!r} twice; give it once.")
        found[name] = value
    return found


def _parse_better(words: Sequence[str]) -> Any:
    """One direction for all metrics, or directions by metric."""
    if len(words) == 1 and words[0] in ("lower", "higher"):
        return words[0]
    return _split_pairs(words, "--better", "lower, higher, or METRIC=lower|higher") or None


@main.command()
@_study_options
@_one_sentence
def validate(**options: Any) -> None:
    """Train real proxy runs and report how well the proxies rank them."""
    study = _load("validate", **options)
    study.validate()
    click.echo(f"Validation {study.output / 'validation.json'}")


@main.command()
@click.argument("proposal", type=click.Path(path_type=Path))
@click.option("-f", "--format", "format_", required=True, help="json, yaml, megatron, "
              "megatron-per-split, hf-datasets, or package.module:function.")  # fmt: skip
@click.option("-p", "--path", "paths", multiple=True, metavar="DOMAIN=PATH",
              help="Where the trainer finds a domain; or one pattern with {domain}.")  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
              help="What only this format takes; lists with commas: valid=/d/a,/d/b.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@_one_sentence
def export(
    proposal: Path,
    format_: str,
    paths: Sequence[str],
    options: Sequence[str],
    out: Path | None,
) -> None:
    """Write a PROPOSAL (proposal.json) as a trainer's config."""
    from mixopt.exporters import export as export_proposal
    from mixopt.proposal import Proposal

    sys.path.insert(0, os.getcwd())  # where a user's own package.module:function lies
    given: Mapping[str, str] | str | None = None
    if len(paths) == 1 and "{domain}" in paths[0]:
        given = paths[0]
    elif paths:
        given = _split_pairs(paths, "--path", "DOMAIN=PATH (or one pattern with {domain})")
    listed = _split_pairs(options, "--option", "KEY=VALUE")
    values = {key: value.split(",") if "," in value or key in SPLITS else value
              for key, value in listed.items()}  # fmt: skip
    text = export_proposal(Proposal.read(proposal), format_, paths=given, out=out, **values)
    click.echo(f"Written   {out}" if out else text, nl=bool(out))


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("-d", "--domain", "domains", multiple=True, metavar="NAME=GLOB",
              help="A domain and its files; repeat for each.")  # fmt: skip
@click.option(
    "--base", default=None, help="Folder or hub id of the base; a small one is built if left out."
)
@_one_sentence
def init(folder: Path, domains: Sequence[str], base: str | None) -> None:
    """Write a study of your own into FOLDER, ready to be run."""
    from mixopt.starting import write_study

    path = write_study(folder, _split_pairs(domains, "--domain", "NAME=GLOB"), base)
    click.echo(f"Written   {path}\nNext      mixopt run {path}")


if __name__ == "__main__":
    main()
