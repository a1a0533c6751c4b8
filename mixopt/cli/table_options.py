"""Options of the verbs on a table of runs, `propose` and `design`, and how they are read."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixopt.cli.options import combine_options, parse_pairs
from mixopt.errors import require_extra

if TYPE_CHECKING:
    from mixopt.config.constraints import ProposalConfig
    from mixopt.trials import Trials

TABLES = ("runs", "mlflow", "ratios", "metrics")
"""Options that name a table, the one that names the results first; without any of them there is none."""
YAML_ENDINGS = (".yaml", ".yml")
NOT_GIVEN = (Path(), Path("/"))
_FILE = click.Path(path_type=Path)


def _given(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    """Return a path, or None for those that entry points of an MLflow project pass for none."""
    return None if value in NOT_GIVEN else value


table_options = combine_options(
    click.option("--ratios", type=_FILE, callback=_given,
                 help="Table of mixtures (CSV, Parquet, JSON)."),
    click.option("--metrics", type=_FILE, callback=_given,
                 help="Table of their metrics; with --runs or --mlflow, columns (A,B,...)."),
    click.option("--runs", type=_FILE, callback=_given,
                 help="One table with both, as trackers export it."),
    click.option("--mlflow", metavar="EXPERIMENT", help="The runs of an MLflow experiment."),
    click.option("--id", metavar="COLUMN", help="Column that names the runs."),
    click.option("--domains", metavar="A,B,...", help="Domains; the ratio columns of --runs."),
    click.option("--counts", is_flag=True, help="The ratios are counts or percentages."),
    click.option("--better", multiple=True, metavar="[METRIC=]lower|higher",
                 help="Which way is better, for all (others) or by metric."),
    click.option("--holdout", multiple=True, metavar="METRIC",
                 help="Reported, and never used to choose."),
    click.option("--ignore", multiple=True, metavar="COLUMN",
                 help="Neither a ratio nor a metric."),
    click.option("--fidelities", metavar="A,B,...",
                 help="Fidelities of the runs (60M,1B), from the lowest to the predicted one."),
    click.option("--step", type=float, metavar="N",
                 help="Step of each run that is read.  [default: the last]"),
    click.option("--recipe", type=_FILE, help="YAML of bounds, target, budget and constraints."),
    click.option("--natural", type=_FILE, callback=_given,
                 help="Your natural mixture (YAML, JSON, CSV or proposal.json), which the decision is "
                 "about; the best run if left out."),
    click.option("--target", help="average, utility, worst, or a metric.  [default: utility]"),
    click.option("--lower", multiple=True, metavar="DOMAIN=RATIO", help="A lower bound."),
    click.option("--upper", multiple=True, metavar="DOMAIN=RATIO", help="An upper bound."),
)  # fmt: skip
"""Adds the options that name the tables of runs and say how to read them."""


def read_table_options(options: Mapping[str, Any]) -> tuple["Trials", "ProposalConfig"]:
    """Read the tables and the config of a proposal.

    Args:
        options: Values of `table_options` by name.

    Returns:
        The trials, and the config as `read_config` returns it.

    Raises:
        MissingExtraError: `--mlflow` is given and MLflow is not installed.
        UsageError: An option is invalid, or `--mlflow` and `--runs` are both given.
    """
    from mixopt.tables.columns import REST
    from mixopt.tables.read_trials import read_trials

    config = read_config(options)
    runs = options["runs"]
    if options["mlflow"] and runs is not None:
        raise click.UsageError("--mlflow and --runs are two tables of the same; give one of them.")
    if options["mlflow"]:
        require_extra("mlflow")
        from mixopt.callbacks.mlflow.runs import read_runs

        runs = read_runs(options["mlflow"])
    given = {name: options[name] for name in ("ratios", "metrics", "holdout", "counts", "ignore")}
    given["step"] = options["step"]
    given["id_column"], given["fidelities"] = options["id"], config.fidelities
    if (
        given["metrics"] is not None
        and runs is not None
        and not given["metrics"].expanduser().is_file()
    ):
        given["metrics"] = split_names(str(given["metrics"]), "--metrics")
    words = [word for word in options["better"] if word in ("lower", "higher")]
    if len(set(words)) > 1:
        raise click.UsageError(
            "--better lower and --better higher are both given; name the metrics."
        )
    pairs = [pair for pair in options["better"] if pair not in words]
    better: Any = parse_pairs(pairs, "--better", "lower, higher, or METRIC=lower|higher") or None
    if words:  # for all metrics that are not named
        better = {REST: words[0], **better} if better else words[0]
    return read_trials(runs=runs, domains=split_names(options["domains"]) or None, better=better,
                       capabilities=config.capabilities, **given), config  # fmt: skip


def read_config(options: Mapping[str, Any]) -> "ProposalConfig":
    """Return the config in the YAML of `--recipe`, overridden by the other options.

    Args:
        options: Values of `table_options` by name.

    Raises:
        ConfigError: A YAML file is invalid.
        UsageError: A bound is not of the form `DOMAIN=RATIO`.
    """
    from mixopt.config.constraints import ProposalConfig
    from mixopt.config.loader import load_proposal_config

    path = options["recipe"]
    config = load_proposal_config(path) if path else ProposalConfig()
    explore = options.get("explore")
    changes: dict[str, Any] = {} if explore is None else {"explore": explore}
    changes |= {
        side: {**getattr(config, side), **_parse_bounds(options[side], f"--{side}")}
        for side in ("lower", "upper")
    }
    if options["fidelities"]:
        changes["fidelities"] = split_names(options["fidelities"], "--fidelities")
    if options["target"]:
        changes["target"] = options["target"]
    if options["natural"]:
        changes["natural"] = dict(_read_natural(options["natural"]))
    return config.model_copy(update=changes)


def _read_natural(path: Path) -> Mapping[str, float]:
    """Return the ratios in a file as `mixopt export` takes them: YAML, JSON or CSV."""
    from mixopt.config.loader import read_yaml
    from mixopt.errors import ConfigError, ExportError
    from mixopt.exporters.given_ratios import read_given_plan
    from mixopt.proposal import Proposal

    path = path.expanduser()
    try:
        plan = read_given_plan(path)
    except ExportError as error:
        if path.suffix.lower() in YAML_ENDINGS:
            # which says more of what is wrong there
            for domain, ratio in read_yaml(path).items():
                if isinstance(ratio, str | bool | None):
                    raise ConfigError(
                        f"{path}: the ratio of {domain!r} is {ratio!r}, not a number."
                    ) from None
        raise ConfigError(str(error)) from None
    if not isinstance(plan, Proposal):
        raise ConfigError(
            f"{path} is a schedule of several mixtures; give the ratios of one as {path.stem}.yaml."
        )
    return plan.ratios


def _parse_bounds(pairs: Sequence[str], option: str) -> dict[str, float]:
    bounds = {}
    for name, number in parse_pairs(pairs, option, "DOMAIN=RATIO").items():
        try:
            bounds[name] = float(number)
        except ValueError:
            raise click.UsageError(f"{option} {name}={number}: {number!r} is no number.") from None
    return bounds


def split_names(given: str | None, option: str = "--domains") -> list[str]:
    """Return the names in an option, of which one with a comma is in double quotes (`"acc,none",f1`).

    Args:
        given: Value of the option; None gives an empty list.
        option: Its name, for the message.

    Raises:
        UsageError: A name is empty, or a quote is not closed.
    """
    try:
        cells = next(csv.reader([given], skipinitialspace=True, strict=True)) if given else []
    except csv.Error:
        raise click.UsageError(f"{option} {given!r} has an open quote; close it.") from None
    names = [name.strip() for name in cells]
    if "" in names:
        raise click.UsageError(f"{option} {given!r} has an empty name; give them as A,B,...")
    return names
