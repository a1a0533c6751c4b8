import json
import re

import numpy as np
import pandas as pd
import pytest
import toy

import mixopt
from mixopt.callbacks.base import Callback
from mixopt.errors import (
    ArgumentTypeError,
    ConfigError,
    DataError,
    DivergedError,
    ExportError,
    HoldoutError,
    InfeasibleError,
    RunError,
    TrialsError,
    UserError,
)
from mixopt.pipeline.status_rows import StatusRow
from mixopt.surrogates.utility import Utility

pytestmark = pytest.mark.slow


class Recorder(Callback):
    def __init__(self):
        self.events, self.sentences, self.models, self.failure = [], [], [], None
        self.called = set()

    def __getattribute__(self, name):
        if name.startswith("on_"):
            self.called.add(name)
        return super().__getattribute__(name)

    def on_study_start(self, recipe, output):
        self.events.append("started")

    def on_message(self, sentence):
        self.sentences.append(sentence)

    def on_model_trained(self, model):
        self.models.append(model)

    def on_round_scored(self, result):
        self.events.append(f"round {result.number}")

    def on_proposals(self, proposals):
        self.events.append("proposed")

    def on_validation(self, validation):
        self.events.append("validated")

    def on_study_end(self, failure):
        self.events.append("ended")
        self.failure = failure


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    path = toy.write_study(folder, validation={"mixtures": 5, "seeds": 2})
    recorder = Recorder()
    study = mixopt.Study.load(
        path, folder / "out", cache=folder / "cache", device="cpu", callbacks=[recorder]
    )
    return study, study.run(), recorder


def test_the_road_is_walked_in_order_and_ended_once(finished):
    _, _, recorder = finished
    assert recorder.events == [
        "started", "round 1", "round 2", "proposed", "validated", "proposed", "ended"
    ]  # fmt: skip
    assert recorder.failure is None
    kinds = [model.kind for model in recorder.models]
    assert kinds.count("base") == 1
    assert kinds.count("expert") == 3
    assert kinds.count("proxy run") == 10


def test_every_hook_of_a_callback_is_called(finished):
    *_, recorder = finished
    assert recorder.called == {name for name in vars(Callback) if name.startswith("on_")}


def test_results_lie_whole_where_they_are_said_to_be(finished):
    study, proposal, _ = finished
    names = {path.name for path in study.output.iterdir()}
    assert names == {
        "artifacts", "exports", "figures", "proposal.json", "proxy-runs.csv", "recipe.yaml",
        "report.html", "trials.csv", "validation.json",
    }  # fmt: skip
    assert mixopt.Proposal.read(study.output / "proposal.json").ratios == pytest.approx(
        proposal.ratios
    )
    assert (study.output / "exports" / "mixture.yaml").read_text().startswith("token_ratios:")


def test_proposal_is_measured_and_compared(finished):
    study, proposal, _ = finished
    assert [c.name for c in proposal.comparisons] == ["natural", "uniform", "best seen"]
    assert set(proposal.measured) == {b.name for b in study.config.benchmarks}
    assert "choice" not in proposal.predicted  # holdout: measured, never predicted
    for comparison in proposal.comparisons:
        assert comparison.measured_gain is not None
        assert "choice" in comparison.differences
    assert proposal.tokens_per_document["birds"] > 10
    assert sum(proposal.weights.values()) == pytest.approx(1)


def test_measured_gain_is_what_merging_and_scoring_gives(finished):
    """Recomputed from the swarm, metric by metric, outside the study's own code."""
    study, proposal, _ = finished
    trials = study.search()
    proxy = study.open_policy().proxy
    table = trials.where(kind=proxy)
    utility = Utility.standardized(
        table, table.search_metrics, trust=study.open_policy().trust(trials)
    )
    natural = proposal.comparisons[0]
    here = study.open_search().evaluator.score(list(proposal.weights.values()))[proxy]
    there = study.open_search().evaluator.score(list(natural.ratios.values()))[proxy]
    gain = 0.0
    for metric, slope in zip(utility.metrics, utility.coefficients, strict=True):
        gain += slope * (here[metric.name].score - there[metric.name].score)
    assert natural.measured_gain.mean == pytest.approx(gain, abs=1e-6)


def test_experts_are_scored_by_their_own_merge(finished):
    study, _, _ = finished
    scores = study.open_search().score_experts()
    evaluator = study.open_search().evaluator
    assert list(scores) == ["base", *evaluator.names]
    second = evaluator.score(np.eye(evaluator.k)[1].tolist())["merged"]
    assert scores[evaluator.names[1]] == {name: result.score for name, result in second.items()}


def test_what_is_searched_does_not_depend_on_what_is_validated_later(finished):
    """The finished study has heard of real runs; a search now gives what was searched then."""
    study, _, _ = finished
    written = (study.output / "trials.csv").read_text()
    assert study.search().to_frame().to_csv(index=False) == written


def test_trials_hold_both_proxies_of_the_same_candidates(finished):
    study, _, _ = finished
    trials = study.search()
    merged, ensembled = trials.where(kind="merged"), trials.where(kind="ensembled")
    assert len(merged) == len(ensembled) == 11
    assert (merged.ratios() == ensembled.ratios()).all()
    assert not np.allclose(merged.values(merged.metrics), ensembled.values(merged.metrics))


def test_holdout_scores_are_refused_to_a_surrogate(finished):
    study, _, _ = finished
    with pytest.raises(HoldoutError):
        mixopt.fit(study.search().where(kind="merged"), target="choice")


def test_validation_holds_ceiling_baseline_and_cost(finished):
    study, _, _ = finished
    plain = json.loads((study.output / "validation.json").read_text())
    rows = {(row["proxy"], row["name"]): row for row in plain["fidelities"]}
    assert plain["mixtures"][:3] == ["natural", "proposal", "spread-00"]  # natural is uniform
    assert len(plain["utilities"]) == 5
    # with this little text the trivial law is right about a domain's own text
    own = [rows["merged", f"{domain}_heldout"] for domain in toy.WORDS]
    assert all(row["baseline"] > 0 for row in own)
    assert rows["merged", "overall"]["ceiling"] == rows["ensembled", "overall"]["ceiling"]
    assert 0 < plain["cost"]["search_tokens"] < plain["cost"]["trained_tokens"]


def test_second_run_finds_everything_and_says_the_same(finished, monkeypatch):
    study, proposal, _ = finished
    from mixopt.training import trainer

    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained again"))
    again = mixopt.Study(study.config, study.output, cache=study.environment.cache, device="cpu")
    assert again.run().to_json() == proposal.to_json()


def test_another_folder_gives_the_same_to_the_last_digit(finished, tmp_path):
    study, proposal, _ = finished
    other = mixopt.Study(study.config, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    other.run()
    for name in ("proposal.json", "trials.csv", "validation.json"):
        assert (other.output / name).read_bytes() == (study.output / name).read_bytes(), name
    took = re.compile(r"[\d,]+ s in this command")
    pages = [took.sub("", (s.output / "report.html").read_text()) for s in (study, other)]
    assert pages[0] == pages[1]


def test_another_seed_is_another_study(finished, tmp_path):
    study, proposal, _ = finished
    recipe = study.config.model_copy(update={"seed": 7, "validation": None})
    other = mixopt.Study(
        recipe, tmp_path / "out", cache=study.environment.cache, device="cpu"
    ).run()
    assert other.to_json() != proposal.to_json()


def test_proposal_helps_the_domains_that_it_feeds(finished):
    """Three capabilities, one for each domain: no sane proposal starves one of them."""
    _, proposal, _ = finished
    assert min(proposal.ratios.values()) > 0.05


def failing(monkeypatch, *names):
    """The training of these models diverges."""
    from mixopt.training import trainer

    train = trainer.train

    def diverge(*arguments, name, **options):
        if name in names:
            raise DivergedError(f"The loss of {name!r} stopped being finite at step 3")
        return train(*arguments, name=name, **options)

    monkeypatch.setattr(trainer, "train", diverge)


def load(folder, **changes):
    recorder = Recorder()
    path = toy.write_study(folder, **changes)
    study = mixopt.Study.load(
        path, folder / "out", cache=folder / "cache", device="cpu", callbacks=[recorder]
    )
    return study, recorder


def test_an_expert_that_diverges_is_set_aside_and_the_study_goes_on(toy_folder, monkeypatch):
    failing(monkeypatch, "ships")
    toy.forget_expert(toy_folder, "ships")
    study, recorder = load(toy_folder)
    proposal = study.propose(study.search())[0]
    assert proposal.ratios["ships"] == 0
    assert any("'ships' was set aside" in note for note in proposal.notes)
    assert any("cannot make the natural mixture" in note for note in proposal.notes)
    failed = [model for model in recorder.models if model.failure]
    assert [model.name for model in failed] == ["ships"]
    assert "at step 3" in failed[0].failure


def test_a_budget_that_lost_an_expert_trains_no_run_and_the_proposal_is_written(
    toy_folder, monkeypatch
):
    failing(monkeypatch, "ships")
    toy.forget_expert(toy_folder, "ships")
    study, recorder = load(toy_folder, budget={"runs": 9})
    proposals, _ = study.answer(study.search())
    assert (study.output / "proposal.json").exists()
    assert proposals[0].ratios["ships"] == 0
    (said,) = (one for one in recorder.sentences if one.startswith("The budget was not spent: "))
    assert "cannot make the natural mixture" in said
    assert not [model for model in recorder.models if model.kind == "run"]


def test_too_few_experts_left_is_the_end(toy_folder, monkeypatch):
    failing(monkeypatch, *toy.WORDS)
    for name in toy.WORDS:
        toy.forget_expert(toy_folder, name)
    study, recorder = load(toy_folder)
    with pytest.raises(DivergedError, match="0 of 3 experts"):
        study.search()
    assert isinstance(recorder.failure, DivergedError)


def test_infeasible_caps_end_the_study_before_any_expert(tmp_path):
    study, recorder = load(tmp_path, target={"tokens": 10**9, "max_repetition": 1})
    with pytest.raises(InfeasibleError, match="upper bounds sum to"):
        study.train()
    assert recorder.models == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exports": [{"format": "megatronn", "out": "x"}]}, "Did you mean 'megatron'"),
        (
            {"exports": [{"format": "yaml", "out": "x", "paths": {"brds": "/d"}}]},
            "Did you mean 'birds'",
        ),
    ],
)
def test_what_a_study_gets_wrong_is_found_before_anything_is_trained(tmp_path, changes, words):
    study, recorder = load(tmp_path, **changes)
    with pytest.raises(ExportError, match=words):
        study.run()
    assert recorder.models == []


def test_missing_benchmark_items_are_found_before_anything_is_trained(tmp_path):
    study, recorder = load(tmp_path)
    (tmp_path / "data" / "choice.jsonl").unlink()
    with pytest.raises(DataError, match="choice.jsonl does not exist"):
        study.run()
    assert recorder.models == []


def test_a_proxy_run_that_diverges_is_left_out_and_said(toy_folder, monkeypatch):
    failing(monkeypatch, "spread-00-1")
    study, recorder = load(toy_folder, validation={"mixtures": 5, "seeds": 2})
    validation = study.validate()
    assert validation.mixtures == ("natural", "proposal", "spread-01", "spread-02")
    assert any("'spread-00' is left out" in sentence for sentence in recorder.sentences)


def test_repetition_cap_binds_the_proposal(toy_folder):
    study, _ = load(toy_folder)
    tokens = study.prepare().corpora.available_tokens
    budget = int(sum(tokens.values()) * 0.9)
    recipe = study.config.model_copy(
        update={
            "target": study.config.target.model_copy(
                update={"tokens": budget, "max_repetition": 1.0}
            )
        }
    )
    capped = mixopt.Study(recipe, toy_folder / "out", cache=toy_folder / "cache", device="cpu")
    proposal = capped.propose(capped.search())[0]
    assert max(proposal.repetition.values()) <= 1 + 1e-9
    for domain, count in proposal.repetition.items():
        assert count == pytest.approx(proposal.ratios[domain] * budget / tokens[domain])


def test_validation_needs_its_section(toy_folder):
    study, _ = load(toy_folder)
    with pytest.raises(ConfigError, match="no `validation` section"):
        study.validate()


def test_anchored_experts_and_their_own_compositions(toy_folder):
    training = toy.study_plain()["training"] | {"anchor_share": 0.5}
    study, _ = load(toy_folder, training=training)
    proposal = study.propose(study.search())[0]
    natural = study.prepare().corpora.natural
    for domain in toy.WORDS:
        expected = 0.5 * proposal.weights[domain] + 0.5 * natural[domain]
        assert proposal.ratios[domain] == pytest.approx(expected)


def test_compositions_by_name(toy_folder):
    rows = {
        "fauna": {"birds": 0.8, "ships": 0.2},
        "fleet": {"ships": 0.9, "sums": 0.1},
        "count": {"sums": 1.0},
        "mixed": {"birds": 0.4, "ships": 0.3, "sums": 0.3},
    }
    study, _ = load(toy_folder, training=toy.study_plain()["training"] | {"compositions": rows})
    proposal = study.propose(study.search())[0]
    assert list(proposal.weights) == list(rows)
    birds = 0.8 * proposal.weights["fauna"] + 0.4 * proposal.weights["mixed"]
    assert proposal.ratios["birds"] == pytest.approx(birds)


def test_ensembles_lead_the_search_and_merges_check_the_proposal(toy_folder):
    study, _ = load(toy_folder, search={"rounds": [8], "method": "auto"})
    assert study.config.search_method == "ensemble"
    trials = study.search()
    surrogate = study.fit(trials)
    assert {trial.kind for trial in trials} == {"ensembled"}
    assert {trial.kind for trial in surrogate.trials} == {"ensembled"}
    proposal = study.propose(trials)[0]
    own = study.open_search().evaluator.score(list(proposal.weights.values()))["merged"]
    assert proposal.measured["birds_heldout"].mean == own["birds_heldout"].score
    rounds = [row for row in study.status() if row.what == "round 1"]
    assert [(row.state, row.why) for row in rounds] == [("done", "3 of 3 experts scored")]


def test_scores_are_written_before_a_fit_that_fails(toy_folder, monkeypatch):
    study, _ = load(toy_folder)

    def fail(*_):
        raise TrialsError("Every metric is the same in all trials.")

    monkeypatch.setattr("mixopt.pipeline.proxy_trust.SurrogatePolicy.fit", fail)
    with pytest.raises(TrialsError, match="Every metric is the same"):
        study.search()
    table = pd.read_csv(study.output / "trials.csv")
    assert (table["kind"] == "merged").sum() == study.config.search.rounds[0]


def test_regmix_trains_its_candidates(toy_folder):
    study, _ = load(toy_folder, search={"rounds": [7], "method": "regmix"})
    trials = study.search()
    assert {(trial.kind, trial.seed) for trial in trials} == {("trained", 0)}
    assert len(trials) == 8  # natural is trained beside the candidates
    assert trials[0].ratios == study.context.corpora.natural
    surrogate = study.fit(trials)
    assert set(surrogate.metrics[0].weights) <= {"trees", "constant"}
    decision = study.propose(trials)[0].decision
    assert decision.runs == 7  # the others, each beside the natural run
    rounds = [row for row in study.status() if row.what == "round 1"]
    assert [row.state for row in rounds] == ["done"]


def test_whole_models_parts_of_items_and_guards_walk_the_road(tmp_path):
    """Generation beside losses, a share of the items, ranks, and what a reader must be told."""
    path = toy.write_study(
        tmp_path,
        search={"rounds": [7, 3], "item_share": 0.5, "normalise": "rank", "proposals": 1},
        validation=None,
    )
    leaked = json.loads((tmp_path / "data" / "birds.jsonl").read_text().splitlines()[0])["text"]
    rows = [{"prompt": leaked, "target": " bird"}, {"prompt": "the small", "target": " bird"}]
    toy.write_jsonl(tmp_path / "data" / "wrote.jsonl", rows)
    told = {"name": "gsm8k", "kind": "generation", "items": "../data/wrote.jsonl",
            "capability": "birds", "max_new_tokens": 2}  # fmt: skip
    toy.write_jsonl(tmp_path / "benchmarks" / "wrote.yaml", [told])
    recorder = Recorder()
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu",
                              callbacks=[recorder])  # fmt: skip
    proposal = study.run()
    trials = study.search()
    merged, mixed = (trials.where(kind=kind) for kind in ("merged", "ensembled"))
    assert all("gsm8k" in trial.scores for trial in merged)
    assert not any("gsm8k" in trial.scores for trial in mixed)
    assert list((study.output / "artifacts" / "estimates").iterdir())
    assert list(proposal.comparisons[0].aggregates) == ["mean", "weighted", "worst"]
    page = (study.output / "report.html").read_text()
    assert "looks like the public test set gsm8k" in page
    assert "share a run of 13 words with training text: " in page
    assert "cannot be told from noise" in page


def test_names_are_text_on_the_page_of_a_notebook(tmp_path, monkeypatch):
    study = mixopt.Study.load(toy.write_study(tmp_path), tmp_path / "<b>out")
    row = StatusRow("export <i>.yaml", "left", why="a < b")
    monkeypatch.setattr(study, "status", lambda: [row])
    html = study._repr_html_()
    assert "<td>export &lt;i&gt;.yaml</td><td>left</td><td>a &lt; b</td>" in html
    assert "&lt;b&gt;out" in html


def test_a_study_is_made_of_a_config_or_loaded_from_a_path(tmp_path):
    for config in ("study.yaml", {"name": "x"}):
        with pytest.raises(ArgumentTypeError, match=r"read a study with mixopt.Study.load\(path\)"):
            mixopt.Study(config, tmp_path)
    path = toy.write_study(tmp_path)
    assert mixopt.Study.load(path, tmp_path / "out", seed=np.int64(3)).config.seed == 3
    with pytest.raises(UserError, match="The seed is -1"):
        mixopt.Study.load(path, tmp_path / "out", seed=-1)


def test_launched_processes_train_together_or_not_at_all(tmp_path, monkeypatch):
    path = toy.write_study(tmp_path, executor="processes")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(mixopt.Study, "prepare", lambda _: pytest.fail("nothing is built"))
    with pytest.raises(RunError, match="launch one process, or pass --executor local"):
        toy.load(tmp_path, path).train()
