import pytest
import toy

from mixopt.callbacks.base import Callback
from mixopt.errors import RunError
from mixopt.pipeline.milestones import report_expert_scores, report_plan

pytestmark = pytest.mark.slow


class Recorder(Callback):
    def __init__(self):
        self.events, self.best, self.scores, self.plan = [], [], {}, []

    def on_plan(self, stages):
        self.events.append("plan")
        self.plan = list(stages)

    def on_stage_start(self, stage):
        self.events.append(stage)

    def on_model_trained(self, model):
        self.events.append(model.name)

    def on_model_scored(self, kind, name, scores):
        self.scores[kind, name] = scores

    def on_best(self, best):
        self.best.append(best)


@pytest.fixture
def searched(toy_folder):
    recorder = Recorder()
    study = toy.load(toy_folder, callbacks=[recorder])
    return study, study.search(), recorder


def test_stages_begin_in_order_and_each_model_is_reported_once(searched, toy_folder):
    *_, recorder = searched
    assert recorder.events[:3] == ["text", "plan", "base"]
    assert recorder.events[3:8] == ["base", "experts", "birds", "ships", "sums"]
    assert recorder.events[8] == "search"
    planned = {stage.stage: (stage.trained_tokens, stage.scored) for stage in recorder.plan}
    assert planned == {"base": (8000, 0), "experts": (12_000, 0), "search": (0, 11)}
    toy.load(toy_folder, callbacks=[recorder]).search()  # another command reports again
    assert recorder.events.count("birds") == 2


def test_scores_of_single_experts_are_those_of_their_trials(searched):
    _, trials, recorder = searched
    kinds = [kind for kind, _ in recorder.scores]
    assert sorted(kinds) == ["base", "expert", "expert", "expert"]
    alone = next(t for t in trials.where(kind="merged") if t.weights["birds"] == 1)
    assert recorder.scores["expert", "birds"] == pytest.approx(dict(alone.scores))


def test_the_best_mixture_has_its_gain_over_natural_after_each_round(searched):
    study, trials, recorder = searched
    assert len(recorder.best) == 2
    last = recorder.best[-1]
    assert last.known_from == "merges"
    again = study.fit(trials).estimate_gain(last.ratios, study.context.corpora.natural)
    assert last.gain.mean == pytest.approx(again.mean)
    assert last.gain.std_error == pytest.approx(again.std_error)


def test_an_expert_that_cannot_be_scored_is_left_out(searched, monkeypatch):
    study, _, recorder = searched
    search = study.open_search()
    monkeypatch.setattr(type(search), "score_alone", lambda *_: _fail())
    recorder.scores.clear()
    report_expert_scores(study.context, search)
    assert recorder.scores == {}


def _fail():
    raise RunError("no score")


def test_a_method_that_a_setting_of_merges_chose_is_said(toy_folder):
    search = {"rounds": [7], "method": "auto", "item_share": 0.5}
    said = []
    for changed in (search, search | {"item_share": 1.0}):
        recorder = Recorder()
        recorder.on_message = said.append
        study = toy.load(
            toy_folder, toy.write_study(toy_folder, search=changed), callbacks=[recorder]
        )
        report_plan(study.prepare())
        assert recorder.plan
    (message,) = (text for text in said if "search.method" in text)
    assert message == "search.method: auto, here mergemix: item_share is a setting of merges"


@pytest.mark.parametrize(("normalise", "warned"), [("rank", 1), ("z", 0)])
def test_ranks_that_the_decision_has_not_are_warned_of_once(toy_folder, normalise, warned):
    search = {"rounds": [7], "normalise": normalise}
    study = toy.load(toy_folder, toy.write_study(toy_folder, search=search))
    context = study.prepare()
    for _ in range(2):
        report_plan(context)
    found = [text for text in study.callbacks.warnings if text.startswith("search.normalise: rank")]
    assert len(found) == warned
