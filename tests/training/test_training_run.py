import pytest
import toy

from mixopt.mixture import Mixture
from mixopt.training.training_run import plan_run


@pytest.fixture
def context(toy_folder):
    return toy.load(toy_folder).prepare()


def plan(study, **changes):
    def never(*_):
        pytest.fail("trained")

    arguments = {
        "ratios": Mixture({"birds": 1.0}), "seed": 0, "key": {}, "config": study.config.training,
        "parameters": 1000, "open_model": never, "save": never, "corpora": study.corpora,
        "context": 32, "device": study.device,
    }  # fmt: skip
    return plan_run("experts", "birds", **arguments | changes)


def test_a_run_says_how_it_trains(context):
    run = plan(context)
    assert run.step.learning_rate == 1e-2
    assert run.plan.steps == -(-4000 // 256)
    assert run.epochs["birds"] == pytest.approx(4000 / context.corpora.counts["birds"].tokens)


def test_what_determines_a_run_is_in_its_key(context):
    training = context.config.training
    changes = ({}, {"seed": 1}, {"ratios": Mixture({"birds": 0.5, "ships": 0.5})},
               {"key": {"base": "x"}}, {"context": 16}, {"parameters": 2000},
               {"config": training.model_copy(update={"tokens": 2000})})  # fmt: skip
    names = [plan(context, **change).artifact.folder_name for change in changes]
    assert len(set(names)) == len(changes) - 1
    # the learning rate is given, so the Step Law's number of parameters plays no role
    assert names[5] == names[0]
