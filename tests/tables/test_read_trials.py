import numpy as np
import pandas as pd
import pytest

import mixopt
from mixopt.errors import MixtureError, TrialsError


def frames(**metrics):
    ratios = pd.DataFrame({"run": ["x", "y", "z"], "a": [1, 0.5, 0.25], "b": [0, 0.5, 0.75]})
    scores = pd.DataFrame({"run": ["z", "x", "y"]} | (metrics or {"val_loss": [3.0, 1.0, 2.0]}))
    return ratios, scores


def test_rows_are_joined_by_id_whatever_their_order():
    ratios, metrics = frames()
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics)
    by_id = {trial.id: trial for trial in trials}
    assert {i: t.scores["val_loss"].value for i, t in by_id.items()} == {
        "x": 1.0,
        "y": 2.0,
        "z": 3.0,
    }
    assert by_id["z"].ratios["b"] == 0.75


def test_csv_files_give_the_same_as_frames(tmp_path):
    ratios, metrics = frames()
    ratios.to_csv(tmp_path / "r.csv", index=False)
    metrics.to_csv(tmp_path / "m.csv", index=False)
    trials = mixopt.read_trials(ratios=tmp_path / "r.csv", metrics=tmp_path / "m.csv")
    assert np.allclose(trials.ratios(), [[1, 0], [0.5, 0.5], [0.25, 0.75]])


def test_repeated_id_is_named():
    ratios, metrics = frames()
    metrics.loc[1, "run"] = "z"
    with pytest.raises(TrialsError, match="metrics table has run 'z' more than once"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_id_in_one_table_only_is_named():
    ratios, metrics = frames()
    metrics.loc[0, "run"] = "w"
    with pytest.raises(TrialsError, match="2 runs are in one table only"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_row_that_does_not_sum_is_named():
    ratios, metrics = frames()
    ratios.loc[1, "a"] = 0.7
    with pytest.raises(MixtureError, match="run y: the ratios sum to 1.2"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_negative_ratio_is_named():
    ratios, metrics = frames()
    ratios.loc[1, ["a", "b"]] = [-0.5, 1.5]
    with pytest.raises(MixtureError, match="run y: a ratio is missing, infinite or negative"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_cell_that_is_no_number_is_named():
    ratios, metrics = frames(val_loss=[3.0, "high", 2.0])
    with pytest.raises(TrialsError, match="run x, column 'val_loss': 'high' is not a number"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_missing_metric_costs_that_value_alone():
    ratios, metrics = frames(val_loss=[3.0, None, 2.0], other_loss=[1.0, 1.5, 2.0])
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics)
    assert len(trials) == 3
    assert [set(trial.scores) for trial in trials] == [
        {"other_loss"}, {"val_loss", "other_loss"}, {"val_loss", "other_loss"}
    ]  # fmt: skip


def test_directions_of_well_known_names():
    ratios, metrics = frames(val_loss=[3.0, 1, 2], acc=[0.1, 0.2, 0.3])
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics)
    assert [m.better for m in trials.metrics] == ["lower", "higher"]


def test_unknown_direction_is_asked_for():
    ratios, metrics = frames(mystery=[0.3, 0.1, 0.2])
    with pytest.raises(TrialsError, match="whether lower or higher 'mystery' is better"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics, better={"mystery": "higher"})
    assert trials.metrics[0].better == "higher"


def test_percentages_are_not_taken_for_losses():
    ratios, metrics = frames(mystery=[30.0, 10.0, 45.0])
    with pytest.raises(TrialsError, match="better="):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_a_metric_among_others_is_not_taken_for_a_loss_because_they_are():
    ratios, metrics = frames(wikitext=[3.0, 2.5, 2.8], hellaswag=[0.3, 0.4, 0.5])
    with pytest.raises(TrialsError, match="better="):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_a_direction_that_is_none():
    ratios, metrics = frames()
    with pytest.raises(TrialsError, match="better must be"):
        mixopt.read_trials(ratios=ratios, metrics=metrics, better={"val_loss": "max"})
    with pytest.raises(TrialsError, match="better must be"):
        mixopt.read_trials(ratios=ratios, metrics=metrics, better="max")


def test_row_numbers_are_no_ids(tmp_path):
    """`to_csv()` writes row numbers: they name a place, and places do not survive a shuffle."""
    ratios, metrics = frames()
    ratios.drop(columns="run").to_csv(tmp_path / "r.csv")
    metrics.drop(columns="run").to_csv(tmp_path / "m.csv")
    with pytest.raises(TrialsError, match="no column that names its runs"):
        mixopt.read_trials(ratios=tmp_path / "r.csv", metrics=tmp_path / "m.csv")
    ratios.to_csv(tmp_path / "r.csv")
    metrics.to_csv(tmp_path / "m.csv")
    trials = mixopt.read_trials(ratios=tmp_path / "r.csv", metrics=tmp_path / "m.csv")
    assert [m.name for m in trials.metrics] == ["val_loss"]
    assert trials[0].scores["val_loss"].value == 1.0


def test_columns_named_twice(tmp_path):
    (tmp_path / "r.csv").write_text("run,a,a\nx,0.5,0.5\n")
    with pytest.raises(TrialsError, match="two columns called 'a'"):
        mixopt.read_trials(ratios=tmp_path / "r.csv", metrics=tmp_path / "r.csv")


def test_missing_file_and_missing_id_column(tmp_path):
    with pytest.raises(TrialsError, match="does not exist"):
        mixopt.read_trials(ratios=tmp_path / "no.csv", metrics=tmp_path / "no.csv")
    (tmp_path / "r.csv").write_text("a,b\n1,0\n")
    with pytest.raises(TrialsError, match="no column that names its runs"):
        mixopt.read_trials(ratios=tmp_path / "r.csv", metrics=tmp_path / "r.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TrialsError, match="cannot be read as CSV"):
        mixopt.read_trials(ratios=tmp_path / "empty.csv", metrics=tmp_path / "r.csv")


def test_regmix_tables_as_they_are(shared):
    folder = shared / "tables" / "regmix"
    trials = mixopt.read_trials(
        ratios=folder / "train_mixture_1m.csv", metrics=folder / "train_pile_loss_1m.csv"
    )
    assert len(trials) == 512
    assert len(trials.domains) == 17
    assert len(trials.metrics) == 13
    assert trials.domains[0] == "arxiv"
    assert trials[0].scores["arxiv_val_loss"].value == pytest.approx(7.0255866050720215)
    assert np.allclose(trials.ratios().sum(axis=1), 1)


def test_olmix_tables_as_they_are_and_shuffled(shared):
    folder = shared / "tables" / "olmix-dclm"
    ratios, metrics = pd.read_csv(folder / "ratios.csv"), pd.read_csv(folder / "metrics.csv")
    with pytest.raises(TrialsError, match="whether lower or higher"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)
    straight = mixopt.read_trials(ratios=ratios, metrics=metrics, better="lower")
    mixed = metrics.sample(frac=1, random_state=1)
    shuffled = mixopt.read_trials(ratios=ratios, metrics=mixed, better="lower")
    assert (len(straight), len(straight.domains), len(straight.metrics)) == (127, 24, 110)
    # as its own loader writes them: with a name and a place beside the run
    ratios.insert(1, "name", [f"swarm-{i}" for i in range(127)])
    ratios.insert(2, "index", range(127))
    again = mixopt.read_trials(ratios=ratios, metrics=metrics.set_index("run"), better="lower")
    assert again.domains == straight.domains
    assert np.array_equal(straight.values(straight.metrics), shuffled.values(straight.metrics))


# --- one table with both, as trackers export it -----------------------------------------------


def runs_table():
    return pd.DataFrame({
        "Name": ["r1", "r2", "r3"],
        "State": ["finished", "crashed", "finished"],
        "config.mixture.web:news": [0.5, 0.2, 0.3],
        "config.mixture.code": [0.5, 0.8, 0.7],
        "optimizer": ["adam", "adam", "adam"],
        "summary.eval/val_loss": [2.0, 9.0, 3.0],
        "summary.eval/val_loss_stderr": [0.1, 0.1, 0.2],
        "gpu_hours": [4.0, 4.0, 8.0],
        "model_size": ["1M", "1M", "1B"],
    })  # fmt: skip


def test_wandb_export(caplog):
    trials = mixopt.read_trials(runs=runs_table())
    assert trials.domains == ("web:news", "code")
    assert [t.id for t in trials] == ["r1", "r3"]
    assert "1 runs that are not finished" in caplog.text
    assert [m.name for m in trials.metrics] == ["val_loss"]
    assert trials[1].scores["val_loss"].std_error == 0.2
    assert [t.cost for t in trials] == [4.0, 8.0]
    assert trials.levels == ("1M", "1B")


def test_a_table_of_unfinished_runs():
    with pytest.raises(TrialsError, match="no run is finished by its 'State'"):
        mixopt.read_trials(runs=runs_table().assign(State="crashed"))


def test_our_own_trials_come_back(tmp_path):
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0], acc=[0.1, 0.2, 0.3])
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics)
    trials.to_frame().to_csv(tmp_path / "trials.csv", index=False)
    again = mixopt.read_trials(runs=tmp_path / "trials.csv")
    assert np.array_equal(again.ratios(), trials.ratios())
    assert np.array_equal(again.values(again.metrics), trials.values(trials.metrics))
    assert again.levels == trials.levels


def test_our_own_trials_come_back_with_weights_fidelities_and_costs(tmp_path):
    metrics = [mixopt.Metric("loss")]
    trials = mixopt.Trials([
        mixopt.Trial(f"t{i}", mixopt.Mixture({"a": i / 4, "b": 1 - i / 4}),
                     {"loss": mixopt.Score(float(i), 0.5)}, kind, {"a": i / 4, "b": 1 - i / 4},
                     fidelity=fidelity, cost=cost)
        for i, (kind, fidelity, cost) in enumerate(
            [("merged", "", 0.5), ("trained", "1B", 10.0), ("trained", "7B", 70.0)]
        )
    ], metrics, ("a", "b"))  # fmt: skip
    trials.to_frame().to_csv(tmp_path / "trials.csv", index=False)
    again = mixopt.read_trials(runs=tmp_path / "trials.csv")
    assert again.levels == ("merged", "1B", "7B")
    assert [metric.name for metric in again.metrics] == ["loss"]
    assert [trial.cost for trial in again] == [0.5, 10.0, 70.0]
    assert again.std_errors(again.metrics).tolist() == [[0.5]] * 3


def test_numbers_as_fidelities_keep_their_spelling_and_blanks_are_named():
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0], model_size=[1_000_000, 1_000_000, 1_500])
    assert mixopt.read_trials(ratios=ratios, metrics=metrics).levels == ("1000000", "1500")
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0], fidelity=["1B", None, "1B"])
    with pytest.raises(TrialsError, match="its fidelity is empty"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_a_prefix_taken_off_the_domains_is_said(caplog):
    caplog.set_level("INFO", "mixopt")
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0])
    names = {name: f"lang/{name}" for name in ratios.columns if name != "run"}
    mixopt.read_trials(ratios=ratios.rename(columns=names), metrics=metrics)
    assert "('lang/')" in caplog.text


def test_domains_by_name_in_a_plain_table():
    table = pd.DataFrame(
        {"run": [1, 2], "web": [0.5, 1.0], "code": [0.5, None], "loss": [1.0, 2.0]}
    )
    trials = mixopt.read_trials(runs=table, domains=["web", "code"])
    assert trials.ratios().tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_capabilities_are_given_by_name():
    ratios, metrics = frames(a_loss=[3.0, 1, 2], b_loss=[1.0, 2, 3])
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics, capabilities={"math": ["b_loss"]})
    assert [m.capability for m in trials.metrics] == ["all", "math"]
    with pytest.raises(TrialsError, match="Did you mean 'b_loss'"):
        mixopt.read_trials(ratios=ratios, metrics=metrics, capabilities={"m": ["bb_loss"]})


def test_tables_that_do_not_go_together():
    ratios, metrics = frames()
    for arguments in ({}, {"ratios": ratios}, {"runs": ratios, "ratios": ratios}):
        with pytest.raises(
            TrialsError, match=r"Give either ratios= .*\(--ratios and --metrics, or"
        ):
            mixopt.read_trials(**arguments)


def test_a_domain_in_one_table_and_not_in_the_other():
    ratios, metrics = frames()
    first = mixopt.read_trials(ratios=ratios, metrics=metrics).labelled("1M")
    second = mixopt.read_trials(ratios=ratios.rename(columns={"b": "c"}), metrics=metrics)
    with pytest.raises(TrialsError, match="is in one of the tables only"):
        first + second.labelled("1B")
    both = first + mixopt.read_trials(ratios=ratios, metrics=metrics).labelled("1B")
    assert both.levels == ("1M", "1B")


def test_a_domain_that_never_varies_is_said(caplog):
    ratios = pd.DataFrame({"run": [1, 2], "a": [0.5, 0.4], "b": [0.3, 0.4], "c": [0.2, 0.2]})
    metrics = pd.DataFrame({"run": [1, 2], "loss": [1.0, 2.0]})
    mixopt.read_trials(ratios=ratios, metrics=metrics)
    assert "ratio of c is the same in all runs" in caplog.text


def test_settings_and_run_metadata_are_no_metrics():
    table = runs_table().assign(**{"config.lr": [0.1, 0.2, 0.3], "step": [1, 2, 3]})
    assert [m.name for m in mixopt.read_trials(runs=table).metrics] == ["val_loss"]
    ratios, metrics = frames(val_loss=[3.0, 1, 2], seed=[1, 2, 3])
    assert len(mixopt.read_trials(ratios=ratios, metrics=metrics).metrics) == 1


def test_metrics_that_a_prefix_tells_apart_keep_it():
    table = pd.DataFrame({"run": [1, 2], "ratio/a": [1.0, 0.0], "ratio/b": [0.0, 1.0],
                          "val/loss": [1.0, 2.0], "test/loss": [2.0, 1.0]})  # fmt: skip
    assert len(mixopt.read_trials(runs=table).metrics) == 2


def test_columns_may_be_ignored():
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0], lr=[1.0, 2.0, 3.0])
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics, ignore=["lr"])
    assert [m.name for m in trials.metrics] == ["val_loss"]
    with pytest.raises(TrialsError, match="no column 'lrr' to ignore. Did you mean 'lr'"):
        mixopt.read_trials(ratios=ratios, metrics=metrics, ignore=["lrr"])


def test_domains_choose_among_the_columns_of_ratios():
    ratios = pd.DataFrame(
        {"run": [1, 2], "mix_a": [1.0, 0.5], "mix_b": [0.0, 0.5], "mix_c": [0, 0]}
    )
    metrics = pd.DataFrame({"run": [1, 2], "loss": [1.0, 2.0]})
    assert mixopt.read_trials(ratios=ratios, metrics=metrics, domains=["mix_a", "b"]).domains == (
        "a", "b",
    )  # fmt: skip
    with pytest.raises(TrialsError, match="no ratios of 'foo'"):
        mixopt.read_trials(ratios=ratios, metrics=metrics, domains=["a", "foo"])


def test_one_run_at_two_fidelities(tmp_path):
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0])
    both = pd.concat([metrics.assign(fidelity="60M"), metrics.assign(fidelity="1B")])
    trials = mixopt.read_trials(ratios=ratios, metrics=both)
    assert len(trials) == 6
    assert trials.at("1B").ratios().tolist() == trials.at("60M").ratios().tolist()
    trials.to_frame().to_csv(tmp_path / "t.csv", index=False)
    assert mixopt.read_trials(runs=tmp_path / "t.csv").levels == ("60M", "1B")
    with pytest.raises(TrialsError, match="one row for each run and fidelity"):
        mixopt.read_trials(ratios=ratios, metrics=pd.concat([both, both.assign(val_loss=9.0)]))


def test_the_clock_of_a_tracker_is_no_metric():
    table = runs_table().assign(Runtime=[100, 200, 300], Created=[1, 2, 3])
    assert [m.name for m in mixopt.read_trials(runs=table).metrics] == ["val_loss"]


def test_columns_of_ratios_that_are_no_domains():
    ratios = pd.DataFrame({"run": [1, 2], "a": [600.0, 300], "b": [400.0, 700], "tokens": [1e3, 1e3],
                           "seed": [0, 1]})  # fmt: skip
    metrics = pd.DataFrame({"run": [1, 2], "loss": [1.0, 2.0]})
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics, counts=True)
    assert trials.domains == ("a", "b")
    assert trials[0].ratios["a"] == 0.6
    named = mixopt.read_trials(ratios=ratios, metrics=metrics, counts=True, domains=["a", "tokens"])
    assert named.domains == ("a", "tokens")


def test_ratios_and_metrics_behind_like_prefixes_are_not_mixed_up():
    table = pd.DataFrame({"run": [1, 2], "train/a": [2.0, 3.0], "train/b": [2.5, 3.5],
                          "mixture/a": [0.2, 0.7], "mixture/b": [0.8, 0.3],
                          "loss": [1.0, 2.0]})  # fmt: skip
    trials = mixopt.read_trials(runs=table, domains=["a", "b"])
    assert trials[0].ratios["a"] == 0.2
    twice = pd.DataFrame({"run": [1, 2], "params.ratio/a": [0.2, 0.7], "params.ratio/b": [0.8, 0.3],
                          "metrics.ratio/a": [0.21, 0.7], "metrics.ratio/b": [0.79, 0.3],
                          "metrics.loss": [1.0, 2.0]})  # fmt: skip
    assert mixopt.read_trials(runs=twice)[0].ratios["a"] == 0.2


def test_a_word_among_numbers_is_an_error_in_one_table_too():
    table = pd.DataFrame({"run": [1, 2, 3], "ratio/a": [1.0, 0.0, 0.5], "ratio/b": [0.0, 1.0, 0.5],
                          "val_loss": ["1.0", "diverged", "2.0"]})  # fmt: skip
    with pytest.raises(TrialsError, match="run 2, column 'loss': 'diverged' is not a number"):
        mixopt.read_trials(runs=table)


def test_fidelity_in_either_table_or_in_both():
    ratios = pd.DataFrame({"run": [1, 2, 1, 2], "a": [0.1, 0.2, 0.3, 0.4], "b": [0.9, 0.8, 0.7, 0.6],
                           "model_size": [60, 60, 1000, 1000]})  # fmt: skip
    metrics = pd.DataFrame({"run": [2, 1, 2, 1], "loss": [4.0, 3.0, 2.0, 1.0],
                            "model_size": [1000, 1000, 60, 60]})  # fmt: skip
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics)
    found = {(t.level, t.id): (t.ratios["a"], t.scores["loss"].value) for t in trials}
    assert found == {("60", "1"): (0.1, 1.0), ("60", "2"): (0.2, 2.0), ("1000", "1"): (0.3, 3.0),
                     ("1000", "2"): (0.4, 4.0)}  # fmt: skip
    with pytest.raises(TrialsError, match="has no such column; add it"):
        mixopt.read_trials(ratios=ratios, metrics=metrics.drop(columns="model_size")[:2])
    only = ratios.assign(run=[1, 2, 3, 4])
    plain = pd.DataFrame({"run": [4, 3, 2, 1], "loss": [4.0, 3.0, 2.0, 1.0]})
    assert mixopt.read_trials(ratios=only, metrics=plain).levels == ("60", "1000")


def test_spreads_are_no_metrics():
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0], val_loss_std=[0.1, 0.2, 0.3],
                             orphan_acc_stderr=[0.1, 0.2, 0.3])  # fmt: skip
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics)
    assert [m.name for m in trials.metrics] == ["val_loss"]


def test_a_crashed_run_beside_its_retry():
    table = runs_table().assign(Name=["r1", "r1", "r3"])
    assert [t.id for t in mixopt.read_trials(runs=table)] == ["r1", "r3"]


def test_wrong_types_are_named_with_what_to_give():
    ratios, metrics = frames()
    for arguments, message in [
        ({"runs": [1, 2]}, r"runs is \[1, 2\]; give a file or a pandas DataFrame"),
        ({"ratios": ratios, "metrics": 3}, "metrics is 3; give a file"),
        ({"ratios": ratios, "metrics": metrics, "domains": "ab"}, "domains is 'ab'; give a list"),
        (
            {"ratios": ratios, "metrics": metrics, "holdout": "loss"},
            "holdout is 'loss'; give a list",
        ),
        ({"ratios": ratios, "metrics": metrics, "ignore": "lr"}, "ignore is 'lr'; give a list"),
        (
            {"ratios": ratios, "metrics": metrics, "capabilities": ["a"]},
            "give metrics by capability",
        ),
        (
            {"ratios": ratios, "metrics": metrics, "capabilities": {"m": "loss"}},
            "m is 'loss'; give a",
        ),
        ({"ratios": ratios, "metrics": metrics, "better": {"val_loss": ["up"]}}, "better must be"),
    ]:
        with pytest.raises(TrialsError, match=message):
            mixopt.read_trials(**arguments)


def one_table(n=6):
    rows = np.random.default_rng(0).dirichlet(np.ones(2), size=n)
    frame = pd.DataFrame(rows, columns=["params.ratio/a", "params.ratio/b"])
    return frame.assign(
        run_id=[f"r{i}" for i in range(n)], **{"metrics.loss": np.linspace(1, 2, n)}
    )


@pytest.mark.parametrize("empty", [None, 0.0])
def test_runs_without_ratios_are_left_out_and_counted(caplog, empty):
    """The parent of a sweep is a run like any other to a tracker."""
    parents = pd.DataFrame({"run_id": ["parent-1", "parent-2"], "metrics.loss": [0.1, 0.2]})
    if empty is not None:
        parents = parents.assign(**{"params.ratio/a": empty, "params.ratio/b": empty})
    trials = mixopt.read_trials(runs=pd.concat([parents, one_table()], ignore_index=True))
    assert [t.id for t in trials] == [f"r{i}" for i in range(6)]
    assert "2 runs without ratios are left out (parent-1, ...)" in caplog.text


def test_a_run_that_lists_some_domains_only_used_no_other():
    frame = one_table()
    frame.loc[2, ["params.ratio/a", "params.ratio/b"]] = [None, 1.0]
    trials = mixopt.read_trials(runs=frame)
    assert trials[2].ratios["a"] == 0.0
    assert len(trials) == 6


def test_percent_are_shares():
    frame = one_table()
    plain = mixopt.read_trials(runs=frame.round(3))
    for column in ("params.ratio/a", "params.ratio/b"):
        frame[column] = [f"{100 * cell:.1f} %" for cell in frame[column]]
    assert np.allclose(mixopt.read_trials(runs=frame).ratios(), plain.ratios(), atol=2e-3)


def test_unfinished_runs_are_left_out_of_two_tables_too(caplog):
    ratios, metrics = frames()
    metrics = metrics.assign(state=["finished", "crashed", "finished"])
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics)
    assert [t.id for t in trials] == ["y", "z"]
    assert "1 runs that are not finished are left out" in caplog.text
    trials = mixopt.read_trials(ratios=ratios, metrics=metrics, ignore=["state"])
    assert [t.id for t in trials] == ["x", "y", "z"]
    plain = metrics.drop(columns="state")
    states = ratios.assign(State=["finished", "finished", "crashed"])  # as configs have them
    kept = mixopt.read_trials(ratios=states, metrics=plain)
    dropped = states.loc[states["State"] == "crashed", states.columns[0]].iloc[0]
    assert len(kept) == 2
    assert str(dropped) not in [t.id for t in kept]


@pytest.mark.parametrize("side", ["ratios", "metrics"])
def test_a_run_that_crashed_at_one_fidelity_is_left_out_there(side):
    tables = {
        what: pd.concat([frame.assign(model_size=size) for size in ("1M", "60M")])
        for what, frame in zip(("ratios", "metrics"), frames(), strict=True)
    }
    state = ["finished"] * 5 + ["crashed"]
    last = str(tables[side].iloc[5]["run"])
    trials = mixopt.read_trials(**{**tables, side: tables[side].assign(state=state)})
    assert len(trials) == 5
    assert [t.fidelity for t in trials if t.id == last] == ["1M"]


def test_a_mixture_of_which_one_seed_crashed_is_kept():
    ratios, metrics = frames()
    both = pd.concat(
        [metrics.assign(seed=0, state="finished"), metrics.assign(seed=1, state="failed")]
    )
    both.iloc[3, both.columns.get_loc("state")] = "finished"  # z, seed 1
    both.iloc[1, both.columns.get_loc("state")] = "failed"  # x, seed 0
    trials = mixopt.read_trials(ratios=ratios, metrics=both)
    assert [t.id for t in trials] == ["z (seed 0)", "y (seed 0)", "z (seed 1)"]


@pytest.mark.parametrize("scale", [1, 100])
def test_losses_called_as_the_domains_are_no_ratios(scale, caplog):
    caplog.set_level("INFO")
    table = pd.DataFrame({"run": ["x", "y", "z"], "ratio/web": [0.2, 0.5, 0.7],
                          "ratio/code": [0.8, 0.5, 0.3], "web": [3.1, 3.0, 2.9],
                          "code": [2.0, 2.1, 2.3], "avg_loss": [2.5, 2.6, 2.7]})  # fmt: skip
    table[["ratio/web", "ratio/code"]] *= scale
    trials = mixopt.read_trials(runs=table, domains=["web", "code"], better="lower")
    assert trials.ratios().tolist() == [[0.2, 0.8], [0.5, 0.5], [0.7, 0.3]]
    assert {"web", "code"} <= {m.name for m in trials.metrics}
    assert (
        "ratio/web, ratio/code are ratios and are taken; the columns web, code are not"
        in caplog.text
    )
    # with ratios of both names, the bare ones that the caller names count
    table[["web", "code"]] = [[0.1, 0.9], [0.4, 0.6], [0.3, 0.7]]
    trials = mixopt.read_trials(runs=table, domains=["web", "code"])
    assert trials.ratios().tolist() == [[0.1, 0.9], [0.4, 0.6], [0.3, 0.7]]


@pytest.mark.parametrize("scale", [1, 100])
def test_domains_that_a_run_does_not_list_are_unused_in_a_table_of_ratios_too(scale, caplog):
    caplog.set_level("INFO")
    metrics = pd.DataFrame({"run": ["x", "y", "z"], "val_loss": [1.0, 2.0, 3.0]})
    long = pd.DataFrame({"run": ["x", "y", "y", "z", "z"], "domain": ["a", "a", "b", "b", "c"],
                         "ratio": [1.0, 0.5, 0.5, 0.25, 0.75]})  # fmt: skip
    long["ratio"] *= scale
    trials = mixopt.read_trials(ratios=long, metrics=metrics)
    assert trials.ratios().tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]]
    assert "4 ratios that are missing are zero" in caplog.text
    short = long.assign(ratio=long["ratio"].where(long.index < 4, 0.5 * scale))
    with pytest.raises(MixtureError, match=r"run (z: a ratio is missing|x: the ratios sum to 100)"):
        mixopt.read_trials(ratios=short, metrics=metrics)


def test_a_blank_count_is_refused_in_one_table_as_in_two():
    """It may be a domain that was not used, or a cell that was lost."""
    ratios = pd.DataFrame(
        {"run": ["a", "b"], "ratio/web": [10.0, 20.0], "ratio/code": [30.0, None]}
    )
    scores = pd.DataFrame({"run": ["a", "b"], "loss": [1.0, 2.0]})
    for given in ({"runs": ratios.merge(scores)}, {"ratios": ratios, "metrics": scores}):
        with pytest.raises(MixtureError, match="run b: a ratio is missing.*0 is a domain"):
            mixopt.read_trials(**given, counts=True)


def test_metrics_are_named_as_their_columns_too():
    frame = pd.DataFrame({
        "run": list("abc"), "ratio/web": [0.1, 0.5, 0.9], "ratio/code": [0.9, 0.5, 0.1],
        "eval/x": [1.0, 2.0, 3.0], "eval/acc": [0.1, 0.2, 0.4],
    })  # fmt: skip
    given = {
        "better": {"eval/x": "lower"},
        "holdout": ["eval/acc"],
        "capabilities": {"c": ["eval/x"]},
    }
    trials = mixopt.read_trials(runs=frame, **given)
    ratios, scores = frame.iloc[:, :3], frame.iloc[:, [0, 3, 4]]
    assert trials.metrics == mixopt.read_trials(ratios=ratios, metrics=scores, **given).metrics
    assert [(m.name, m.role, m.capability) for m in trials.metrics] == [
        ("x", "search", "c"), ("acc", "holdout", "all")
    ]  # fmt: skip


def test_states_that_finish_no_run_name_the_remedy():
    frame = pd.DataFrame({"run": list("ab"), "ratio/x": [0.1, 0.5], "ratio/y": [0.9, 0.5],
                          "loss": [1.0, 2.0], "status": ["new", "old"]})  # fmt: skip
    with pytest.raises(
        TrialsError, match="its 'status' .new, old.; .* --ignore status on the shell"
    ):
        mixopt.read_trials(runs=frame)
    assert len(mixopt.read_trials(runs=frame, ignore=["status"])) == 2
    assert len(mixopt.read_trials(runs=frame.assign(status=["OK", "failed"]))) == 1


def test_text_beside_the_domains_that_are_named():
    ratios = pd.DataFrame(
        {"run": list("ab"), "x": [0.1, 0.5], "y": [0.9, 0.5], "notes": ["p", "q"]}
    )
    metrics = pd.DataFrame({"run": list("ab"), "loss": [1.0, 2.0]})
    assert len(mixopt.read_trials(ratios=ratios, metrics=metrics, domains=["x", "y"])) == 2
    with pytest.raises(TrialsError, match="column 'notes': 'p' is not a number"):
        mixopt.read_trials(ratios=ratios, metrics=metrics)


def test_names_may_come_from_generators_and_views():
    """A generator was empty at the second look, so a column to ignore stayed a metric."""
    table = one_table().assign(**{"metrics.acc": 0.5, "metrics.em": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
    plain = mixopt.read_trials(
        runs=table, metrics=["loss", "em"], ignore=["metrics.acc"], domains=["a", "b"],
        holdout=["em"], capabilities={"c": ["loss"]},
    )  # fmt: skip
    again = mixopt.read_trials(
        runs=table, metrics={"loss": 1, "em": 2}.keys(), ignore=(n for n in ["metrics.acc"]),
        domains={"a": 1, "b": 2}.keys(), holdout=(n for n in ["em"]),
        capabilities={"c": (n for n in ["loss"])},
    )  # fmt: skip
    assert again.digest == plain.digest
    assert [metric.name for metric in plain.metrics] == ["loss", "em"]
    with pytest.raises(TrialsError, match="domains is 5; give a list of names"):
        mixopt.read_trials(runs=table, domains=5)


def test_columns_may_be_numbered():
    rows = np.random.default_rng(0).dirichlet(np.ones(2), size=6)
    frame = pd.DataFrame(np.column_stack([rows, np.linspace(1, 2, 6)]))
    trials = mixopt.read_trials(runs=frame, domains=[0, 1], better="lower")
    assert trials.domains == ("0", "1")
    assert np.allclose(trials.ratios(), rows)
    assert [metric.name for metric in trials.metrics] == ["2"]


@pytest.mark.parametrize(
    ("column", "unit"), [("cost", ""), ("gpu_hours", "gpu_hours"), ("tokens", "tokens")]
)
def test_a_cost_has_the_unit_of_its_column(column, unit):
    trials = mixopt.read_trials(runs=one_table().assign(**{f"metrics.{column}": 5.0}))
    assert {(trial.cost, trial.cost_unit) for trial in trials} == {(5.0, unit)}
    again = mixopt.Trials.from_frame(
        trials.to_frame(), domains=trials.domains, metrics=trials.metrics
    )
    assert again.digest == trials.digest


@pytest.mark.parametrize("cells", [[True, False, True], [True, None, False]])
def test_true_and_false_are_no_metric(cells, tmp_path):
    ratios, metrics = frames(val_loss=[3.0, 1.0, 2.0], diverged=cells)
    assert mixopt.read_trials(ratios=ratios, metrics=metrics).metrics[0].name == "val_loss"
    metrics.to_csv(tmp_path / "m.csv", index=False)
    trials = mixopt.read_trials(ratios=ratios, metrics=tmp_path / "m.csv", better="lower")
    assert trials.metrics[0].name == "val_loss"


def test_a_chosen_name_of_several_metrics_is_asked_for():
    """The first of them was taken."""
    frame = pd.DataFrame({"ratio/web": [0.1, 0.5, 0.9], "ratio/code": [0.9, 0.5, 0.1],
                          "test_loss": [1.0, 2.0, 3.0], "val_loss": [3.0, 2.0, 1.0]})  # fmt: skip
    with pytest.raises(
        TrialsError, match=r"several metrics 'loss' \(test_loss, val_loss\); name one"
    ):
        mixopt.read_trials(runs=frame, metrics=["loss"])
    assert mixopt.read_trials(runs=frame, metrics=["val_loss"])[0].scores["val_loss"].value == 3
    both = mixopt.read_trials(runs=frame.assign(loss=0.5), metrics=["loss"])
    assert both[0].scores["loss"].value == 0.5
