from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixopt.tables.read_trials as read_trials_module
from mixopt.errors import TrialsError
from mixopt.tables.ratio_columns import are_ratios, find_total, select_ratios
from mixopt.tables.read_trials import read_trials

CASES = Path(__file__).parents[3] / "shared" / "cases"
RATIOS = np.random.default_rng(0).dirichlet(np.ones(3), size=20).round(4)
DOMAINS = ("web", "code", "math")


def table(prefix="", **more):
    frame = pd.DataFrame(RATIOS, columns=[prefix + name for name in DOMAINS])
    for name, cells in more.items():
        frame[name] = cells
    frame.insert(0, "run", [f"r{i}" for i in range(len(frame))])
    return frame


LOSS = np.linspace(2, 3, 20)
DELETE = np.delete


def test_values_tell_ratios():
    ratios = pd.DataFrame(RATIOS)
    assert are_ratios(ratios)
    assert are_ratios(ratios * 100)  # percent
    assert not are_ratios(ratios * 1000)
    assert not are_ratios(ratios.assign(loss=LOSS))
    assert not are_ratios(ratios.iloc[:0])
    one_wrong = ratios.copy()
    one_wrong.iloc[3] = 0.9
    assert are_ratios(one_wrong)
    one_wrong.iloc[:3] = 0.9
    assert not are_ratios(one_wrong)


def test_the_sum_of_the_others():
    ratios = pd.DataFrame(RATIOS, columns=DOMAINS)
    assert find_total(ratios) is None
    assert find_total(ratios.assign(n=1.0)) == "n"
    counts = (ratios * 1e9).round()
    assert find_total(counts.assign(total=counts.sum(axis=1))) == "total"
    # without --counts nothing says that these are counts
    assert find_total(counts.assign(books=counts.sum(axis=1))) is None
    assert find_total(counts.assign(budget=counts.sum(axis=1)), counts=True) == "budget"
    assert find_total(counts, counts=True) is None
    assert find_total(counts.assign(books=counts.sum(axis=1) + 5e6), counts=True) is None


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_the_sum_of_rounded_percent(decimals):
    """It was a domain of half of the tokens where rounding moved the sum."""
    many = np.random.default_rng(3).dirichlet(np.ones(8), size=12)
    percent = pd.DataFrame((many * 100).round(decimals), columns=list("abcdefgh"))
    assert np.abs(percent.sum(axis=1) - 100).max() > 1e-6
    assert find_total(percent.assign(Total=100.0)) == "Total"
    assert find_total(percent.assign(Total=130.0)) is None


def test_totals_of_tables_with_counts():
    counts = table()
    counts[list(DOMAINS)] = (counts[list(DOMAINS)] * 1e9).round()
    metrics = table()[["run"]].assign(loss=LOSS)
    for name in ("n_tokens", "budget", "tokens_seen"):
        frame = counts.assign(**{name: counts[list(DOMAINS)].sum(axis=1)})
        assert read_trials(ratios=frame, metrics=metrics, counts=True).domains == DOMAINS
        prefixed = frame.rename(columns={c: f"ratio/{c}" for c in (*DOMAINS, name)})
        trials = read_trials(runs=prefixed.assign(loss=LOSS), counts=True)
        assert trials.domains == DOMAINS
    assert read_trials(
        ratios=table().assign(tokens_seen=LOSS * 1e9), metrics=metrics
    ).domains == DOMAINS  # fmt: skip


@pytest.mark.parametrize("setting", ["weight_decay", "warmup_ratio", "dropout"])
def test_a_setting_within_the_tolerance_of_the_sum_is_no_domain(setting, caplog):
    caplog.set_level("INFO", "mixopt")
    value = 0.005 if setting == "dropout" else 0.01
    metrics = table()[["run"]].assign(loss=LOSS)
    trials = read_trials(ratios=table(**{setting: value}), metrics=metrics)
    assert trials.domains == DOMAINS
    assert f"{setting} is the same in all runs, whose ratios sum to 1 without it" in caplog.text


def test_a_domain_that_is_the_same_in_all_runs_stays():
    ratios = pd.DataFrame(RATIOS * 0.99, columns=DOMAINS).assign(books=0.01)
    assert select_ratios(ratios, [], "t") == [*DOMAINS, "books"]
    assert select_ratios(ratios.round(2), [], "t") == [*DOMAINS, "books"]
    unused = pd.DataFrame(RATIOS, columns=DOMAINS).assign(books=0.0)
    assert select_ratios(unused, [], "t") == [*DOMAINS, "books"]
    # nothing tells the domain from the setting
    assert len(select_ratios(ratios.assign(dropout=0.01), [], "t")) == 5
    two = pd.DataFrame(RATIOS, columns=DOMAINS).assign(dropout=0.004, decay=0.005)
    assert select_ratios(two, [], "t") == list(DOMAINS)


def test_doubtful_columns_stay_where_they_complete_the_sum():
    ratios = pd.DataFrame(RATIOS, columns=["web", "epoch", "errors"])
    assert select_ratios(ratios, [{"epoch"}], "t") == ["web", "epoch", "errors"]
    assert select_ratios(ratios.assign(lr=3.0), [{"lr"}], "t") == ["web", "epoch", "errors"]
    assert select_ratios(ratios * 3, [{"epoch"}], "t") is None


@pytest.mark.parametrize("prefix", ["domain_weights/", "train_", "weights/"])
def test_records_of_trainers_are_neither_domains_nor_metrics(prefix, caplog):
    caplog.set_level("INFO", "mixopt")
    frame = table(prefix, eval_loss=LOSS, eval_runtime=LOSS * 3, eval_samples_per_second=LOSS,
                  learning_rate=LOSS, total_flos=LOSS, epoch=LOSS, _step=LOSS)  # fmt: skip
    frame["train_loss"], frame["train_runtime"] = LOSS + 1, LOSS * 100
    frame["system/gpu"], frame["eval_loss__MIN"] = LOSS, LOSS
    trials = read_trials(runs=frame)
    assert trials.domains == DOMAINS
    assert [metric.name for metric in trials.metrics] == ["loss"]
    assert "are left out" in caplog.text


def test_records_in_tables_of_ratios_and_of_metrics():
    ratios = table("train_", train_loss=LOSS, train_runtime=LOSS * 100)
    metrics = table()[["run"]].assign(val_loss=LOSS, grad_norm=LOSS, eval_runtime=LOSS)
    trials = read_trials(ratios=ratios, metrics=metrics)
    assert (trials.domains, [m.name for m in trials.metrics]) == (DOMAINS, ["val_loss"])


@pytest.mark.parametrize(("scale", "counts"), [(1.0, False), (1e6, True)])
def test_total_column(scale, counts, caplog):
    caplog.set_level("INFO", "mixopt")
    ratios = table()
    ratios[list(DOMAINS)] = (ratios[list(DOMAINS)] * scale).round(4)
    ratios["total"] = ratios[list(DOMAINS)].sum(axis=1)
    trials = read_trials(ratios=ratios, metrics=table()[["run"]].assign(loss=LOSS), counts=counts)
    assert trials.domains == DOMAINS
    assert "'total' is the sum of the other" in caplog.text


def test_metrics_and_ids_are_chosen_by_hand():
    frame = table("ratio/", acc=LOSS, acc_stderr=LOSS / 9, eval_loss=LOSS).rename(
        columns={"run": "mine"}
    )
    frame["train/loss"] = LOSS
    assert read_trials(runs=frame)[1].id == "r1"  # the only column of texts that differ
    with pytest.raises(TrialsError, match="--id on the shell"):
        read_trials(ratios=frame, metrics=frame)
    with pytest.raises(TrialsError, match="no column 'mime'.*Did you mean 'mine'"):
        read_trials(runs=frame, id_column="mime")
    trials = read_trials(runs=frame, id_column="mine", metrics=["acc"])
    assert [m.name for m in trials.metrics] == ["acc"]
    assert trials[1].id == "r1"
    assert trials[1].scores["acc"].std_error == pytest.approx(LOSS[1] / 9)
    trials = read_trials(runs=frame, id_column="mine", metrics=["train/loss"])
    assert [m.name for m in trials.metrics] == ["train/loss"]
    with pytest.raises(TrialsError, match="no metric 'los'"):
        read_trials(runs=frame, id_column="mine", metrics=["los"])


@pytest.mark.skipif(not CASES.is_dir(), reason="the inputs of users in ../shared/cases are missing")
@pytest.mark.parametrize(
    "name", ["hf-trainer-wandb/runs", "hf-trainer-wandb/ratio", "wandb-min-max/runs"]
)
def test_exports_of_users(name):
    trials = read_trials(runs=CASES / f"{name}.csv")
    assert (trials.domains, [m.name for m in trials.metrics]) == (DOMAINS, ["loss"])


@pytest.mark.parametrize("name", ["{}", "pct_{}", "params_{}", "config.data.blend.{}", "{} share"])
@pytest.mark.parametrize("form", ["shares", "percent", "cells in percent"])
def test_ratios_are_found_under_any_name(name, form, caplog):
    caplog.set_level("INFO", "mixopt")
    frame = table(loss=LOSS, hellaswag=LOSS / 9, weight_decay=0.1)
    for domain in DOMAINS:
        shares = frame[domain] * (1 if form == "shares" else 100)
        cells = shares.map("{:.2f} %".format) if form == "cells in percent" else shares
        frame = frame.drop(columns=domain).assign(**{name.format(domain): cells})
    trials = read_trials(runs=frame, better={"hellaswag": "higher"})
    assert {domain.removesuffix(" share") for domain in trials.domains} == set(DOMAINS)
    assert [metric.name for metric in trials.metrics] == ["loss", "hellaswag"]
    assert trials.ratios() == pytest.approx(RATIOS / RATIOS.sum(axis=1, keepdims=True), abs=1e-4)
    assert "are taken for the ratios; domains= (--domains on the shell) names others" in caplog.text


def test_ratios_of_two_phases_without_prefixes_are_asked_for():
    second = np.random.default_rng(5).dirichlet(np.ones(3), size=20)
    frame = table(loss=LOSS, **dict(zip(("a", "b", "c"), second.T, strict=True)))
    with pytest.raises(
        TrialsError, match="or more than one, sums to 1 in all runs; name them with"
    ):
        read_trials(runs=frame)
    assert read_trials(runs=frame, domains=["a", "b", "c"], ignore=list(DOMAINS)).domains == (
        "a", "b", "c",
    )  # fmt: skip


def test_stated_counts_are_not_passed_over_for_metrics_that_sum_to_one():
    frame = table("ratio/", loss=LOSS, p_right=LOSS / 4, p_wrong=1 - LOSS / 4)
    frame[["ratio/web", "ratio/code", "ratio/math"]] *= 1e9
    with pytest.raises(ValueError, match="the ratios sum to 1e\\+09.*counts=True"):
        read_trials(runs=frame, better="lower")


def test_the_sum_is_looked_for_once_among_many_domains(monkeypatch):
    """The table was copied for each column."""
    calls = []
    monkeypatch.setattr(
        np, "delete", lambda *given, **more: calls.append(1) or DELETE(*given, **more)
    )
    ratios = pd.DataFrame(np.random.default_rng(0).dirichlet(np.ones(200), size=20))
    assert find_total(ratios) is None
    assert find_total(ratios.assign(total=1.0)) == "total"
    assert len(calls) == 1
    frames, original = [], read_trials_module.find_total
    monkeypatch.setattr(
        read_trials_module,
        "find_total",
        lambda frame, **more: frames.append(frame) or original(frame, **more),
    )
    frame = table(**{f"eval_{i}_loss": LOSS for i in range(5)})
    read_trials(ratios=frame, metrics=frame[["run", "eval_0_loss"]])
    assert len(frames) == 1


def test_infinite_scores_are_no_sums():
    frame = pd.DataFrame(RATIOS, columns=DOMAINS).assign(loss=[np.inf, *LOSS[1:]])
    assert find_total(frame) is None
    assert find_total(frame.assign(ppl=np.inf)) is None
