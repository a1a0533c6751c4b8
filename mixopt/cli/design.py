"""`mixopt design`: which runs to train, before there are any or after some."""

import csv
import io
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixopt.cli.more_runs import describe_more_runs, expect_of_more_runs
from mixopt.cli.options import refuse_unused
from mixopt.cli.table_options import (
    TABLES,
    read_config,
    read_table_options,
    split_names,
    table_options,
)

if TYPE_CHECKING:
    from mixopt.mixture import Mixture


@click.command()
@table_options
@click.option("-n", "--number", type=click.IntRange(min=1, max=100_000),
              help="Runs to propose.")  # fmt: skip
@click.option("--method", type=click.Choice(["d-optimal", "maximin", "sequential"]),
              default="d-optimal", show_default=True, help="How runs are chosen.")  # fmt: skip
@click.option("--advise", is_flag=True, help="Estimate instead how much more runs would help.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="CSV to write."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Seed of random draws.")  # fmt: skip
def design(**options: Any) -> None:
    """Propose runs to train, before there are any or after some.

    Without a table, --domains (or --natural) names the domains.
    """
    tables = [name for name in TABLES if options[name]]
    if options["advise"]:
        without_runs = ("number", "output", "method", "lower", "upper", "natural")
        refuse_unused(without_runs, "--advise proposes no runs")
        if not tables:
            raise click.UsageError("--advise needs the runs so far: --ratios and --metrics, ...")
        _advise(options)
        return
    if not tables:
        with_table = ("better", "holdout", "ignore", "counts", "target", "id", "fidelities", "step")
        refuse_unused(with_table, "there is no table of runs")
    elif options["method"] != "sequential":
        refuse_unused(("target",), f"a {options['method']} design uses no metric")
    if options["number"] is None:
        raise click.UsageError("Give -n, the number of runs to propose, or --advise.")
    _design(options, with_runs=bool(tables))


def _design(options: Mapping[str, Any], *, with_runs: bool) -> None:
    from mixopt.exporters.rounding import DECIMALS, round_ratios
    from mixopt.io.files import write_text
    from mixopt.optimization.design import design_runs
    from mixopt.pipeline.from_table import space_of
    from mixopt.surrogates.fit import fit
    from mixopt.surrogates.multi_fidelity import order_fidelities

    seen: list[Mixture] = []
    surrogate = None
    taken: set[str] = set()
    if with_runs:
        trials, config = read_table_options(options)
        # a mixture tried at a low fidelity may still be worth a high-fidelity run
        high_fidelity = trials.at(order_fidelities(trials, config.fidelities)[-1])
        seen, taken = [trial.ratios for trial in high_fidelity], {trial.id for trial in trials}
        space = space_of(trials.domains, config)
        if options["method"] == "sequential":
            surrogate = fit(trials, target=config.target, surrogates=config.surrogates,
                            capability_weights=config.capability_weights,
                            fidelities=config.fidelities, seed=options["seed"])  # fmt: skip
    else:
        config = read_config(options)
        domains = split_names(options["domains"]) or list(config.natural or ())
        if len(domains) < 2:
            raise click.UsageError("Give two --domains or more, or --natural, or a table of runs.")
        space = space_of(domains, config)
    mixtures = design_runs(space, options["number"], method=options["method"], seen=seen,
                           surrogate=surrogate, seed=options["seed"])  # fmt: skip
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["run", *space.domains])
    names = (name for i in count(len(taken)) if (name := f"run-{i:03d}") not in taken)
    for mixture, name in zip(mixtures, names, strict=False):
        ratios = round_ratios(mixture)
        rows.writerow([name, *(f"{ratios[d]:.{DECIMALS}f}" for d in space.domains)])
    if options["output"]:
        click.echo(f"Written   {write_text(options['output'], text.getvalue())}")
    else:
        click.echo(text.getvalue(), nl=False)


def _advise(options: Mapping[str, Any]) -> None:
    rows = expect_of_more_runs(*read_table_options(options), seed=options["seed"])
    click.echo("\n".join(describe_more_runs(rows)))
