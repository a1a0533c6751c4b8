"""Commands on a table of runs: propose and design. `propose` takes a study too."""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mixopt.callbacks.console import ConsoleCallback
from mixopt.cli.shell import main, one_sentence, split_pairs
from mixopt.cli.studies import load_study_for

if TYPE_CHECKING:
    from mixopt.config.constraints import ProposalConfig
    from mixopt.mixture import Mixture
    from mixopt.search_space import SearchSpace
    from mixopt.trials import Trials

Command = TypeVar("Command", bound=Callable[..., None])
TABLES = ("ratios", "metrics", "runs", "mlflow")
WITH_TABLES = (
    "better",
    "holdout",
    "ignore",
    "natural",
    "lower",
    "upper",
    "domains",
    "counts",
    "recipe",
)


def table_options(command: Command) -> Command:
    """The options that say which runs there are and how they are read."""
    path = click.Path(path_type=Path)
    options = [
        click.option("--ratios", type=path, help="Table of mixtures (CSV, Parquet, JSON)."),
        click.option("--metrics", type=path, help="Table of their metrics."),
        click.option("--runs", type=path, help="One table with both, as trackers export it."),
        click.option("--mlflow", metavar="EXPERIMENT", help="The runs of an MLflow experiment."),
        click.option("--domains", metavar="A,B,...", help="Domains; the ratio columns of --runs."),
        click.option("--counts", is_flag=True, help="The ratios are counts or percentages."),
        click.option("--better", multiple=True, metavar="[METRIC=]lower|higher",
                     help="Which way is better, for all or by metric."),
        click.option("--holdout", multiple=True, metavar="METRIC",
                     help="Reported, and never used to choose."),
        click.option("--ignore", multiple=True, metavar="COLUMN",
                     help="Neither a ratio nor a metric."),
        click.option("--recipe", type=path, help="YAML of limits, target, budget and guards."),
        click.option("--natural", type=path, help="YAML of domain: ratio; else the runs' mean."),
        click.option("--target", help="average, utility, worst, or a metric.  [default: average]"),
        click.option("--lower", multiple=True, metavar="DOMAIN=RATIO", help="A lower bound."),
        click.option("--upper", multiple=True, metavar="DOMAIN=RATIO", help="An upper bound."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("study", required=False)
@table_options
@click.option("-q", "--proposals", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("-o", "--output", help="Folder of results.")
@click.option("--seed", type=click.IntRange(min=0), help="Overrides the study's seed.")
@click.option("--device", default="auto", show_default=True, help="With STUDY: auto, cpu, ...")
@click.option(
    "--track/--no-track",
    default=True,
    show_default=True,
    help="Log to MLflow (a table: inside mlflow run).",
)
@one_sentence
def propose(study: str | None, **options: Any) -> None:
    """Propose mixtures: for a STUDY, or from a table of runs."""
    tables = [name for name in TABLES if options[name]]
    if study is None and tables:
        _refuse(("device",), "a table of runs needs no model")
        _propose_from_tables(options)
        return
    if study is None or tables:
        raise click.UsageError(
            "Give either STUDY, or a table: --ratios and --metrics, --runs, or --mlflow."
        )
    for name in (*WITH_TABLES, "target"):
        if options[name]:
            raise click.UsageError(f"--{name} goes with tables; a study says it in its YAML.")
    if options["proposals"] != 1:
        raise click.UsageError("--proposals goes with tables; a study says search.proposals.")
    loaded = load_study_for("propose", study, options["output"], options["seed"], options["device"],
                   options["track"])  # fmt: skip
    loaded.propose(loaded.search())
    click.echo(f"Proposal  {loaded.output / 'proposal.json'}")


def _propose_from_tables(options: Mapping[str, Any]) -> None:
    from mixopt.io.files import write_text
    from mixopt.optimization.comparisons import describe_fit
    from mixopt.pipeline.from_table import propose_from_table, space_of
    from mixopt.report.build import table_report_data
    from mixopt.report.page import write_report

    trials, recipe = read_table_options(options)
    if recipe.natural is None:
        click.echo(
            "No --natural was given; the mean of the runs stands for the natural mixture.", err=True
        )
    surrogate, proposals = propose_from_table(
        trials, recipe, q=options["proposals"], seed=options["seed"] or 0
    )
    console = ConsoleCallback(click.echo)
    for sentence in describe_fit(surrogate):
        click.echo(sentence)
    console.on_proposals(proposals)
    files = []
    if options["output"]:
        for number, proposal in enumerate(proposals, start=1):
            name = "proposal.json" if number == 1 else f"proposal-{number}.json"
            files.append(write_text(Path(options["output"]) / name, proposal.to_json()))
            click.echo(f"Written   {files[-1]}")
        table = next(Path(str(options[name])) for name in TABLES if options[name])
        data = table_report_data(table.stem, surrogate, proposals, space_of(trials, recipe),
                                 table=table.name, seed=str(options["seed"] or 0))  # fmt: skip
        files.append(write_report(data, Path(options["output"])))
        click.echo(f"Report    {files[-1]}")
    if options["track"] and "MLFLOW_RUN_ID" in os.environ:
        from mixopt.callbacks.mlflow.runs import log_proposals

        log_proposals(proposals, files)


@main.command()
@table_options
@click.option("-n", "--number", type=click.IntRange(min=1), help="Runs to propose.")
@click.option("--method", type=click.Choice(["d-optimal", "maximin", "sequential"]),
              default="d-optimal", show_default=True)  # fmt: skip
@click.option("--advise", is_flag=True, help="Say instead what more runs would buy.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="CSV to write.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@one_sentence
def design(**options: Any) -> None:
    """Propose the runs to make, before there are any or after some.

    Without a table, --domains (or --natural) says what there is to mix.
    """
    tables = [name for name in TABLES if options[name]]
    if options["advise"]:
        _refuse(("number", "output", "method", "lower", "upper", "natural"),
                "--advise proposes no runs")  # fmt: skip
        if not tables:
            raise click.UsageError("--advise needs the runs so far: --ratios and --metrics, ...")
        _advise(options)
        return
    if not tables:
        _refuse(("better", "holdout", "ignore", "counts", "target"), "there is no table of runs")
    elif options["method"] != "sequential":
        _refuse(("target",), f"a {options['method']} design asks no metric")
    if options["number"] is None:
        raise click.UsageError("Give -n, the number of runs to propose, or --advise.")
    _design(options, with_runs=bool(tables))


def _refuse(names: Sequence[str], why: str) -> None:
    """Ends the command where an option was given that it would not use."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{why}, so --{name} would do nothing; leave it out.")


def _design(options: Mapping[str, Any], *, with_runs: bool) -> None:

    from mixopt.exporters.rounding import round_ratios
    from mixopt.io.files import write_text
    from mixopt.optimization.design import design_runs
    from mixopt.pipeline.from_table import space_of
    from mixopt.surrogates.fit import fit
    from mixopt.surrogates.multi_fidelity import order_levels

    seen: list[Mixture] = []
    surrogate = None
    taken: set[str] = set()
    if with_runs:
        trials, recipe = read_table_options(options)
        # a mixture that a cheaper run has seen may still be worth a dear one
        dearest = trials.at(order_levels(trials, recipe.fidelities)[-1])
        seen, taken = [trial.ratios for trial in dearest], {trial.id for trial in trials}
        space = space_of(trials, recipe)
        if options["method"] == "sequential":
            surrogate = fit(trials, target=recipe.target, surrogates=recipe.surrogates,
                            capability_weights=recipe.capability_weights,
                            fidelities=recipe.fidelities, seed=options["seed"])  # fmt: skip
    else:
        space = _space_without_runs(options)
    mixtures = design_runs(space, options["number"], method=options["method"], seen=seen,
                           surrogate=surrogate, seed=options["seed"])  # fmt: skip
    lines = [",".join(["run", *space.domains])]
    names = (name for i in count(len(taken)) if (name := f"run-{i:03d}") not in taken)
    for mixture, name in zip(mixtures, names, strict=False):
        ratios = round_ratios(mixture)
        cells = (f"{ratios[d]:.6f}" for d in space.domains)
        lines.append(",".join([name, *cells]))
    text = "\n".join(lines) + "\n"
    if options["output"]:
        click.echo(f"Written   {write_text(options['output'], text)}")
    else:
        click.echo(text, nl=False)


def _space_without_runs(options: Mapping[str, Any]) -> "SearchSpace":
    from mixopt.pipeline.from_table import space_over

    recipe = read_recipe(options)
    domains = split_names(options["domains"]) or list(recipe.natural or ())
    if len(domains) < 2:
        raise click.UsageError("Give two --domains or more, or --natural, or a table of runs.")
    return space_over(tuple(domains), recipe)


def _advise(options: Mapping[str, Any]) -> None:
    from mixopt.optimization.learning_curve import advise

    trials, recipe = read_table_options(options)
    rows = advise(trials, target=recipe.target, capability_weights=recipe.capability_weights,
                  surrogates=recipe.surrogates, fidelities=recipe.fidelities,
                  seed=options["seed"])  # fmt: skip
    click.echo("  runs  error of the utility (sd)   rank of unseen runs")
    for row in rows:
        error = "{:.3f} to {:.3f}".format(*row.error_interval)
        rank = "{:+.3f} to {:+.3f}".format(*row.rank_interval)
        click.echo(f"  {row.runs:>4}  {row.error:.3f} ({error})   {row.rank:+.3f} ({rank})")
    now, last = rows[0], rows[-1]
    click.echo(
        f"{last.runs - now.runs} more runs would cut the error by about "
        f"{1 - last.error / now.error:.0%}, and the width of the proposal's intervals with it."
    )


def read_table_options(options: Mapping[str, Any]) -> tuple["Trials", "ProposalConfig"]:
    """The trials that the options name, and the recipe with what the options add to it."""
    from mixopt.tables.read_trials import read_trials

    recipe = read_recipe(options)
    runs = options["runs"]
    if options["mlflow"]:
        from mixopt.callbacks.mlflow.runs import read_runs

        runs = read_runs(options["mlflow"])
    domains = split_names(options["domains"]) or None
    trials = read_trials(
        ratios=options["ratios"],
        metrics=options["metrics"],
        runs=runs,
        domains=domains,
        better=parse_better(options["better"]),
        holdout=options["holdout"],
        capabilities=recipe.capabilities,
        counts=options["counts"],
        ignore=options["ignore"],
    )
    return trials, recipe


def read_recipe(options: Mapping[str, Any]) -> "ProposalConfig":
    """The recipe that --recipe names, or one that says nothing, with the other options over it."""
    from mixopt.config.constraints import ProposalConfig
    from mixopt.config.loader import load_proposal_config

    recipe = load_proposal_config(options["recipe"]) if options["recipe"] else ProposalConfig()
    return _override(recipe, options)


def _override(recipe: "ProposalConfig", options: Mapping[str, Any]) -> "ProposalConfig":
    """The recipe with bounds, target and natural mixture of the command line over its own."""
    changes: dict[str, Any] = {
        side: {**getattr(recipe, side), **parse_bounds(options[side], f"--{side}")}
        for side in ("lower", "upper")
    }
    if options["target"]:
        changes["target"] = options["target"]
    if options["natural"]:
        changes["natural"] = dict(_read_natural(options["natural"]))
    return recipe.model_copy(update=changes)


def _read_natural(path: Path) -> Mapping[str, float]:
    from mixopt.config.loader import read_yaml
    from mixopt.errors import ConfigError
    from mixopt.mixture import Mixture

    plain = read_yaml(path)
    for domain, ratio in plain.items():
        if not isinstance(ratio, int | float):
            raise ConfigError(f"{path}: the ratio of {domain!r} is {ratio!r}, not a number.")
    try:
        return Mixture({str(domain): ratio for domain, ratio in plain.items()})
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_bounds(pairs: Sequence[str], option: str) -> dict[str, float]:
    """Numbers by domain from `DOMAIN=RATIO`."""
    bounds = {}
    for name, number in split_pairs(pairs, option, "DOMAIN=RATIO").items():
        try:
            bounds[name] = float(number)
        except ValueError:
            raise click.UsageError(f"{option} {name}={number}: {number!r} is no number.") from None
    return bounds


def split_names(given: str | None) -> list[str]:
    """Names that commas divide, without the spaces around them; none where nothing was given."""
    names = [name.strip() for name in (given or "").split(",")] if given else []
    if "" in names:
        raise click.UsageError(f"--domains {given!r} has an empty name; give them as A,B,...")
    return names


def parse_better(words: Sequence[str]) -> Any:
    """One direction for all metrics, or directions by metric."""
    if len(words) == 1 and words[0] in ("lower", "higher"):
        return words[0]
    return split_pairs(words, "--better", "lower, higher, or METRIC=lower|higher") or None
