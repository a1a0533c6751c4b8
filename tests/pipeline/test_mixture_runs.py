import numpy as np
import pytest
import torch
import toy
from safetensors.torch import load_file

from mixopt import Mixture
from mixopt.pipeline.experts import train_base
from mixopt.pipeline.mixture_runs import RunSpec, ScoredRun, train_runs
from mixopt.pipeline.training_runs import mixture_run, read_run
from mixopt.training.checkpointing import CheckpointManager

NATURAL = Mixture({"birds": 0.5, "ships": 0.3, "sums": 0.2})
LENGTHS = (1024, 2048, 4096)
"""Tokens; the toy trains 256 a step."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    training = {"tokens": 2048, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 99}
    opened = toy.load(folder, toy.write_study(folder, training=training))
    train_base(opened.prepare())
    return opened


def score(study, ratios, seed=0, lengths=LENGTHS, name="natural"):
    ((spec, scored),) = train_runs(study.context, [RunSpec(name, ratios, seed, lengths)])
    assert isinstance(scored, ScoredRun), scored
    assert spec == scored.spec
    return scored


def test_a_checkpoint_of_a_long_run_is_a_run_of_its_own(study):
    long, short = score(study, NATURAL), score(study, NATURAL, lengths=LENGTHS[:1])
    assert list(long.logprobs) == list(LENGTHS)
    assert np.array_equal(long.logprobs[1024], short.logprobs[1024])
    assert not np.array_equal(long.logprobs[1024], long.logprobs[4096])
    assert long.flops == 4 * short.flops


def test_one_mixture_at_two_lengths_with_one_seed_is_two_runs(study):
    specs = [RunSpec("natural", NATURAL, 0, (tokens,)) for tokens in LENGTHS[1::-1]]
    found = dict(train_runs(study.context, specs))
    assert [list(found[spec].logprobs) for spec in specs] == [[2048], [1024]]


def test_a_run_learns_what_it_reads(study):
    scorer = study.context.scorer

    def loss(scored, tokens, name):
        return scorer.read(scored.logprobs[tokens])[name].score

    birds = score(study, Mixture({"birds": 1.0}), name="birds")
    natural = score(study, NATURAL)
    assert loss(birds, 4096, "birds_heldout") < loss(birds, 1024, "birds_heldout")
    assert loss(birds, 4096, "sums_heldout") > loss(natural, 4096, "sums_heldout")


def test_seeds_differ(study):
    first, second = score(study, NATURAL), score(study, NATURAL, seed=1)
    assert not np.array_equal(first.logprobs[1024], second.logprobs[1024])


def test_weights_are_kept_at_each_checkpoint(study):
    score(study, NATURAL)
    run = mixture_run(study.context, "natural", NATURAL, 0, LENGTHS)
    folder = read_run(study.context, run).folder
    files = [folder / "step-4", folder / "step-8", folder]
    weights = [load_file(file / "model.safetensors") for file in files]
    name = next(iter(weights[0]))
    assert not torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[1][name], weights[2][name])


class StoppedError(Exception):
    pass


def test_a_run_that_was_stopped_is_the_same(study, tmp_path, monkeypatch):
    whole = score(study, NATURAL)
    commit, stops = CheckpointManager.commit, []

    def commit_and_stop(self, checkpoint):
        commit(self, checkpoint)
        if checkpoint.name == "checkpoint-9":
            stops.append(checkpoint)
            raise StoppedError

    training = {"tokens": 2048, "learning_rate": 1e-2, "batch_tokens": 256, "max_epochs": 99}
    executor = {"kind": "local", "checkpoint_minutes": 1e-9}
    again = toy.load(tmp_path, toy.write_study(tmp_path, training=training, executor=executor))
    train_base(again.prepare())
    monkeypatch.setattr(CheckpointManager, "commit", commit_and_stop)
    resumed = score(again, NATURAL)  # the dispatcher tries a second time
    assert len(stops) == 1
    for tokens in LENGTHS:
        assert np.array_equal(resumed.logprobs[tokens], whole.logprobs[tokens])
