import gc
import random
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy
from models_for_tests import CONFIGS, build, model, open_corpus, tokenizer
from safetensors.torch import load_file

from mixopt import Mixture
from mixopt.artifacts.artifact import seal
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.text import FilesTextConfig
from mixopt.config.training import ExpertTrainingConfig, TrainingConfig
from mixopt.errors import DivergedError, ModelError, UserError
from mixopt.merging.expert import open_expert
from mixopt.training import trainer
from mixopt.training.base_model import Layout, mergeable
from mixopt.training.batch_plan import BatchPlan
from mixopt.training.checkpoint_weights import DECAYS, checkpoint_weights
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.dataset import MixtureDataset
from mixopt.training.device import Device
from mixopt.training.distributed import ProcessGroup
from mixopt.training.expert_files import load_expert, load_parameters, save_expert
from mixopt.training.step_law import OptimizerHyperparameters
from mixopt.training.trainer import exclude_libraries_from_collection, train

CPU = Device("cpu", torch.float32)
CONTEXT = 32


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("corpora"), random.Random(0)
    made = {}
    for name in ("birds", "sums"):
        path = toy.write_jsonl(
            folder / f"{name}.jsonl", [{"text": toy.text(name, rng)} for _ in range(60)]
        )
        made[name] = open_corpus(
            FilesTextConfig(paths=[str(path)]), tokenizer(), name=name, cache=ArtifactStore(folder)
        )
    return made


def run(corpora, tmp_path, recipe, *, seed=0, rate=1e-2, network=None, processes=None, device=CPU,
        batch=256, interval_s=3600, context=CONTEXT):  # fmt: skip
    step = OptimizerHyperparameters(rate, batch, "test")
    plan = BatchPlan.of(recipe, step, context, 1, vocabulary=300)
    dataset = MixtureDataset(
        corpora,
        Mixture({"birds": 1.0, "sums": 0.0}),
        sequences=plan.sequences,
        context=context,
        seed=seed,
    )
    network = network or model()
    processes = processes or ProcessGroup()
    checkpoints = CheckpointManager(tmp_path, interval_s, processes=processes)
    outcome, whole = train(
        network, dataset, recipe, step, plan,
        name="birds", device=device, seed=seed, checkpoints=checkpoints,
    )  # fmt: skip
    load_parameters(network, whole)
    return network, outcome


def test_training_learns_and_counts(corpora, tmp_path):
    _, outcome = run(corpora, tmp_path, TrainingConfig(tokens=8000))
    assert outcome.losses[-1][1] < 0.7 * outcome.losses[0][1]
    assert outcome.tokens == 31 * 256
    parameters = sum(p.numel() for p in model().parameters())
    assert outcome.flops == 6 * parameters * outcome.tokens


def test_same_seed_same_weights_to_the_last_digit(corpora, tmp_path):
    recipe = ExpertTrainingConfig(tokens=4000, average_checkpoints=2)
    first, _ = run(corpora, tmp_path / "a", recipe)
    second, _ = run(corpora, tmp_path / "b", recipe)
    other, _ = run(corpora, tmp_path / "c", recipe, seed=1)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_mixed_precision_is_asked_for_or_that_of_the_base(corpora, tmp_path):
    """Matrix products in bfloat16 round losses; the weights are float32 in any case."""
    half, found = Device("cpu", torch.bfloat16), {}
    for asked in ("auto", "float32", "bfloat16"):
        for device in (CPU, half):
            recipe = TrainingConfig(tokens=4000, mixed_precision=asked)
            network, outcome = run(
                corpora, tmp_path / f"{asked}-{device.dtype}", recipe, device=device
            )
            assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
            found[asked, device] = outcome.losses
    exact, rounded = found["float32", CPU], found["bfloat16", CPU]
    assert exact == found["float32", half] == found["auto", CPU] != rounded
    assert rounded == found["bfloat16", half] == found["auto", half]
    assert rounded[-1][1] == pytest.approx(exact[-1][1], rel=2**-7)


def test_a_precision_that_is_asked_for_is_another_training():
    plain = TrainingConfig(tokens=4000).artifact_key()
    asked = TrainingConfig(tokens=4000, mixed_precision="bfloat16").artifact_key()
    assert "mixed_precision" not in plain  # as before the setting existed
    assert asked == plain | {"mixed_precision": "bfloat16"}


@pytest.fixture
def rates(monkeypatch):
    """The rate after each step of what is trained."""
    seen = []

    class Spy(trainer._TrainingMonitor):
        def on_step_end(self, args, state, control, **kwargs):
            seen.append(kwargs["optimizer"].param_groups[0]["lr"])
            super().on_step_end(args, state, control, **kwargs)

    monkeypatch.setattr(trainer, "_TrainingMonitor", Spy)
    return seen


def test_rate_is_constant_after_the_warm_up(corpora, tmp_path, rates):
    run(corpora, tmp_path, TrainingConfig(tokens=8000, warmup_share=0.2))
    assert rates[0] < 1e-2
    assert np.allclose(rates[7:], 1e-2)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "1-sqrt"])
def test_rate_decays_over_the_last_share_of_the_steps(corpora, tmp_path, rates, schedule):
    recipe = TrainingConfig(tokens=8000, warmup_share=0.2, schedule=schedule, decay_share=0.5)
    _, outcome = run(corpora, tmp_path, recipe)
    first = outcome.steps - round(0.5 * outcome.steps)
    passed = np.arange(1, outcome.steps - first + 1) / (outcome.steps - first)
    assert np.allclose(rates[7 : first - 1], 1e-2)
    assert np.allclose(rates[first:], 1e-2 * DECAYS[schedule](passed))
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_a_decay_over_all_steps_begins_after_the_warm_up(corpora, tmp_path, rates):
    run(corpora, tmp_path, TrainingConfig(tokens=8000, warmup_share=0.2, schedule="linear"))
    assert max(rates) == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ["mean", "1-sqrt"])
def test_average_is_that_of_the_last_checkpoints(corpora, tmp_path, monkeypatch, kind):
    seen = []

    class Spy(trainer._TrainingMonitor):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            tensors = {n: p.detach().double().numpy().copy() for n, p in model.named_parameters()}
            seen.append(tensors)
            super().on_step_end(args, state, control, model=model, **kwargs)

    monkeypatch.setattr(trainer, "_TrainingMonitor", Spy)
    floor = 0.0 if kind == "mean" else 0.1
    recipe = ExpertTrainingConfig(
        tokens=8000, average_checkpoints=3, average_share=0.3, average=kind, average_floor=floor
    )
    network, outcome = run(corpora, tmp_path, recipe)
    steps = list(trainer._averaged_steps(recipe, outcome.steps))
    assert len(steps) == 3
    assert steps[-1] == outcome.steps  # the newest is in
    weights = checkpoint_weights(kind, 3, floor=floor)
    for name, parameter in network.named_parameters():
        mean = np.tensordot(weights, np.stack([seen[step - 1][name] for step in steps]), 1)
        assert np.abs(parameter.detach().numpy() - mean).max() < 1e-6


def test_mixtures_of_experts_are_averaged_too(corpora, tmp_path):
    """Their checkpoints are saved under other names and shapes than their parameters live."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "mixtral", vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1,
    )  # fmt: skip
    recipe = ExpertTrainingConfig(tokens=2000, average_checkpoints=2)
    network, _ = run(corpora, tmp_path, recipe, network=AutoModelForCausalLM.from_config(config))
    save_expert(network, tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == {
        n for n, _ in network.named_parameters()
    }


def test_stored_buffers_are_part_of_an_expert(corpora, tmp_path):
    """GLM-4.5's router has a correction bias that is no parameter; a merge reads it of each expert."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "glm4_moe", vocab_size=300, hidden_size=16, intermediate_size=16, moe_intermediate_size=8,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
        n_routed_experts=4, num_experts_per_tok=2, first_k_dense_replace=1,
    )  # fmt: skip
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config)
    layout = Layout.of(network)
    name = next(n for n, _ in network.named_buffers() if n.endswith("e_score_correction_bias"))
    network.get_buffer(name).fill_(0.5)
    recipe = ExpertTrainingConfig(tokens=512, average_checkpoints=2)
    trained, _ = run(corpora, tmp_path / "work", recipe, network=network)
    save_expert(trained, tmp_path)
    open_expert(tmp_path).check(layout)
    again = AutoModelForCausalLM.from_config(config)
    load_expert(again, tmp_path)
    for key, tensor in mergeable(again).items():
        assert torch.equal(tensor, mergeable(trained)[key]), key


def test_one_checkpoint_is_the_last_alone():
    assert trainer._averaged_steps(ExpertTrainingConfig(tokens=1, average_checkpoints=1), 10) == {}
    assert trainer._averaged_steps(TrainingConfig(tokens=1), 10) == {}
    steps = trainer._averaged_steps(
        ExpertTrainingConfig(tokens=1, average_checkpoints=4, average_share=0.4), 100
    )
    assert list(steps) == [70, 80, 90, 100]


def test_loss_that_is_not_finite_names_run_and_step(corpora, tmp_path):
    with pytest.raises(DivergedError, match=r"loss of 'birds' stopped being finite at step \d+;"):
        run(corpora, tmp_path, TrainingConfig(tokens=2000), rate=1e30)


def test_only_the_main_process_keeps_tensors(tmp_path, monkeypatch):
    network, state = model(), SimpleNamespace(global_step=1, max_steps=9)
    weights = {2: {1: 0.5, 2: 0.5}}
    kept = {}
    for rank in range(2):
        monitor = trainer._TrainingMonitor("x", weights, lambda *_: None, keeps=rank == 0)
        monitor.on_step_end(None, state, None, model=network)
        last = trainer._TrainingMonitor("x", {2: {}}, lambda *_: None, keeps=rank == 0)
        kept[rank] = [dict(monitor.sums), monitor.average(network, 2), last.average(network, 2)]
        for each in (monitor, last):
            each.work.close()
    assert all(kept[0])
    assert not any(kept[1])
    for name, tensor in kept[0][1].items():
        assert torch.equal(tensor, 0.5 * dict(network.named_parameters())[name])


def test_all_processes_end_where_the_main_one_finds_nan(corpora, tmp_path, monkeypatch):
    def broadcast(self, value):
        return False if isinstance(value, bool) else value

    monkeypatch.setattr(ProcessGroup, "broadcast", broadcast)
    with pytest.raises(DivergedError, match="stopped being finite at step 2;"):
        run(corpora, tmp_path, TrainingConfig(tokens=512), processes=ProcessGroup(rank=1))


def test_accumulated_batches_train_the_same_model(corpora, tmp_path):
    whole, _ = run(corpora, tmp_path / "a", TrainingConfig(tokens=4000))
    split, _ = run(corpora, tmp_path / "b", TrainingConfig(tokens=4000, device_batch=2))
    for a, b in zip(whole.parameters(), split.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)


@pytest.mark.parametrize("value", [float("nan"), 1e38])
def test_a_base_without_a_finite_loss_is_not_blamed_on_the_rate(corpora, tmp_path, value):
    """Finite weights may be too large to compute with."""
    network = model()
    with torch.no_grad():
        network.get_input_embeddings().weight.fill_(value)
    with pytest.raises(ModelError, match="'birds' starts from has no finite loss and grad"):
        run(corpora, tmp_path, TrainingConfig(tokens=512), network=network)


def test_libraries_are_left_out_of_collections_once(monkeypatch):
    exclude_libraries_from_collection.cache_clear()
    exclude_libraries_from_collection()
    assert gc.get_freeze_count() > 10_000
    monkeypatch.setattr("mixopt.training.trainer.gc.freeze", lambda: pytest.fail("again"))
    exclude_libraries_from_collection()


def test_a_process_trains_on_one_of_its_cards(corpora, tmp_path, monkeypatch):
    """DataParallel's replicas would leave out the autocast to bfloat16."""

    class Refused(torch.nn.DataParallel):
        def __init__(self, *_):
            raise AssertionError

    class Arguments(trainer.TrainingArguments):
        def __post_init__(self):
            super().__post_init__()
            _ = self.n_gpu
            self._n_gpu = 2

    monkeypatch.setattr(trainer, "TrainingArguments", Arguments)
    monkeypatch.setattr(torch.nn, "DataParallel", Refused)
    _, outcome = run(corpora, tmp_path, TrainingConfig(tokens=1000))
    assert outcome.steps > 0


@pytest.mark.parametrize("has_images", [False, True])
def test_weights_that_text_does_not_reach_are_looked_for(
    corpora, tmp_path, monkeypatch, has_images
):
    given = {}

    class Arguments(trainer.TrainingArguments):
        def __init__(self, **options):
            given.update(options)
            super().__init__(**options)

    network = model()
    own = deepcopy(network.config) if has_images else network.config
    monkeypatch.setattr(type(network.config), "get_text_config", lambda *_, **__: own)
    monkeypatch.setattr(trainer, "TrainingArguments", Arguments)
    run(corpora, tmp_path, TrainingConfig(tokens=1000), network=network)
    assert given["ddp_find_unused_parameters"] is has_images


def test_checkpoints_between_two_logs_leave_the_loss_curve_as_it_is(corpora, tmp_path, monkeypatch):
    saved = []
    commit = CheckpointManager.commit

    def note(self, checkpoint):
        saved.append(int(checkpoint.name.rpartition("-")[2]))
        commit(self, checkpoint)

    monkeypatch.setattr(CheckpointManager, "commit", note)
    recipe = TrainingConfig(tokens=104 * 64)  # the Trainer logs every second step
    plain, told = run(corpora, tmp_path / "a", recipe, batch=64)
    assert saved == []
    again, other = run(corpora, tmp_path / "b", recipe, batch=64, interval_s=1e-9)
    assert saved == list(range(1, 104))
    for a, b in zip(plain.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [step for step, _ in told.losses] == [*range(2, 105, 2)]
    assert np.allclose(other.losses, told.losses, rtol=1e-6, atol=0)


def test_losses_are_means_weighted_by_their_steps():
    pairs = [(2, 1.0), (4, 0.1), (5, 6.0), (6, 2.0), (7, 9.0)]
    # what is logged after the last of the steps is in none, as without a checkpoint
    assert list(trainer.merge_losses(pairs, 2)) == [(2, 1.0), (4, 0.1), (6, 4.0)]
    assert list(trainer.merge_losses([(1, 6.0), (3, 3.0)], 3)) == [(3, 4.0)]


def test_a_training_that_ends_in_its_warm_up_does_not_decay():
    config = TrainingConfig(tokens=1, schedule="cosine", decay_share=0.5)
    steps = [trainer.count_decay_steps(config, n, warmup=95) for n in (57, 95, 100, 400)]
    assert steps == [0, 0, 5, 200]


def test_a_checkpoint_of_shards_is_not_continued_without_fsdp(corpora, tmp_path):
    checkpoint = tmp_path / "checkpoint-3"
    (checkpoint / "pytorch_model_fsdp_0").mkdir(parents=True)
    seal(checkpoint, {}, 0.0)
    with pytest.raises(
        UserError, match=r"'birds' was begun with FSDP and cannot go on without it;"
    ):
        run(corpora, tmp_path, TrainingConfig(tokens=2000))


def test_a_step_at_a_context_of_8192_tokens(corpora, tmp_path):
    long, tokens = 8192, 2 * 8192
    network = build("llama", 0, 300, **CONFIGS["llama"] | {"max_position_embeddings": long})
    before = [parameter.detach().clone() for parameter in network.parameters()]
    recipe = TrainingConfig(tokens=tokens, max_epochs=99)
    _, outcome = run(corpora, tmp_path, recipe, network=network, batch=tokens, context=long)
    assert (outcome.steps, outcome.tokens) == (1, tokens)
    # untrained, so about as likely as any of 300 tokens
    assert outcome.losses[0][1] == pytest.approx(np.log(300), rel=0.1)
    moved = zip(before, network.parameters(), strict=True)
    assert all(not torch.equal(old, new) for old, new in moved)
