"""`mixopt propose`: mixtures for a study, or from a table of runs."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mixopt.cli.more_runs import describe_more_runs, expect_of_more_runs
from mixopt.cli.options import (
    RUN_OPTIONS,
    can_track,
    is_given,
    load_study,
    open_console,
    refuse_unused,
    run_options,
)
from mixopt.cli.output import remark
from mixopt.cli.table_options import NOT_GIVEN, TABLES, read_table_options, table_options
from mixopt.io.proposal_files import proposal_name, remove_further_proposals

ONLY_WITH_TABLES = ("better", "holdout", "ignore", "natural", "lower", "upper", "domains", "counts",
                    "recipe", "target", "explore", "advise", "id", "fidelities", "proposed",
                    "step")  # fmt: skip
"""Options that a study sets in its YAML."""
TRACKED_OUTPUT = "mixopt-runs/table"
"""Folder of results of a table inside `mlflow run`."""


@click.command()
@click.argument("study", required=False)
@table_options
@click.option("--explore", type=bool, is_flag=False, flag_value=True, default=None, metavar="",
              help="Let proposals leave what the runs cover.")  # fmt: skip
@click.option("--proposed", metavar="IDS",
              help="Runs that earlier proposals recommended, comma-separated; predicted gains are "
              "corrected by their results.")  # fmt: skip
@click.option("--advise", is_flag=True,
              help="Estimate too what more runs would improve, for the report (12 fits).")  # fmt: skip
@click.option("-n", "--proposals", default=1, show_default=True,
              type=click.IntRange(min=1, max=1000), help="Mixtures to propose.")  # fmt: skip
@click.option("-o", "--output", help="Folder of results.  "
              "[default: mixopt-runs/NAME for a STUDY; a table is only printed]")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0),
              help="The study's seed, or that of a table's draws.  [table: 0]")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="With STUDY: auto, cpu, ...")
@click.option("--track/--no-track", default=True, show_default=True,
              help="Log to MLflow (a table: inside mlflow run).")  # fmt: skip
@run_options
def propose(study: str | None, **options: Any) -> None:
    """Propose mixtures: for a STUDY, or from a table of runs."""
    if study is not None and Path(study) in NOT_GIVEN:  # by an entry point of an MLflow project
        study = None
    tables = [name for name in TABLES if options[name]]
    if study is not None and tables and study.isdigit():
        raise click.UsageError(f"-q prints less and takes no number; give -n {study}.")
    if study is None and tables:
        if options["device"] != "auto":
            refuse_unused(("device",), "a table of runs needs no model")
        refuse_unused(RUN_OPTIONS, "a table of runs trains nothing")
        _propose_from_tables(options)
        return
    if study is None or tables:
        raise click.UsageError(
            "Give either STUDY, or a table: --ratios and --metrics, --runs, or --mlflow."
        )
    for name in ONLY_WITH_TABLES:
        if options[name]:
            raise click.UsageError(f"--{name} goes with tables; a study sets it in its YAML.")
    if options["proposals"] != 1:
        raise click.UsageError("--proposals goes with tables; a study sets search.proposals.")
    given = {name: options[name] for name in ("output", "seed", "device", "track", *RUN_OPTIONS)}
    loaded = load_study("propose", study, **given)
    with loaded.running():
        loaded.propose(loaded.search())


def _propose_from_tables(options: Mapping[str, Any]) -> None:
    from mixopt.optimization.comparisons import describe_fit
    from mixopt.pipeline.from_table import propose_from_table, repetition_of, space_of

    inside_mlflow = "MLFLOW_RUN_ID" in os.environ
    tracked = options["track"] and (inside_mlflow or is_given("track")) and can_track()
    if tracked and not inside_mlflow:
        raise click.UsageError(
            "--track logs the proposals of a table to the run of `mlflow run`, and this is none; leave "
            "it out."
        )
    trials, config = read_table_options(options)
    seed = options["seed"] or 0
    proposed = [name.strip() for name in (options["proposed"] or "").split(",") if name.strip()]
    surrogate, proposals = propose_from_table(
        trials, config, q=options["proposals"], seed=seed, proposed=proposed
    )
    decision = proposals[0].decision
    if config.natural is None and (decision is None or decision.reference == "best seen"):
        remark(
            "No --natural was given: the decision is about the best run. Give the mixture that you "
            "would train on to decide about it."
        )
    for sentence in describe_fit(surrogate):
        remark(sentence)
    more = expect_of_more_runs(trials, config, seed=seed) if options["advise"] else []
    for line in describe_more_runs(more) if more else []:
        remark(line)
    files, rest = [], []
    # what is logged are files, and an entry point of a project cannot know whether a table was given
    output = options["output"] or (TRACKED_OUTPUT if tracked else "")
    if output:
        folder = Path(output)
        # only here: charts take a second to import
        from mixopt.report.build import table_report_data
        from mixopt.report.page import write_report

        for number, proposal in enumerate(proposals, start=1):
            files.append(proposal.write(folder / proposal_name(number)))
        remove_further_proposals(folder, len(proposals))
        kind, given = next((name, str(options[name])) for name in TABLES if options[name])
        is_file = kind != "mlflow"  # the name of an experiment, else
        space = space_of(trials.domains, config)
        data = table_report_data(
            Path(given).stem if is_file else given, surrogate, proposals, space,
            repetition=repetition_of(config, trials.domains), expectations=more,
            table=Path(given).name if is_file else given, seed=str(seed),
        )  # fmt: skip
        files.append(write_report(data, folder))
        best = shlex.quote(str(files[0]))
        names = ", ".join(file.name for file in reversed(files))
        rest = [
            f"Results   {folder}: {names}",
            f"Next      read the report, then: mixopt export {best} -f FORMAT -o FILE",
        ]
    open_console().print_answer(proposals, rest, remark)
    if tracked:
        from mixopt.callbacks.mlflow.runs import log_proposals

        log_proposals(proposals, files)
