"""A training in real shards (FSDP 2, gloo), and what we gather of it. Run by torchrun, or by itself."""

import os
import sys
from types import SimpleNamespace

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from mixopt.training.distributed import ProcessGroup, is_sharded
from mixopt.training.expert_files import load_parameters
from mixopt.training.trainer import _TrainingMonitor

STEPS, BATCH = 4, 4


def make():
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                         num_attention_heads=2, tie_word_embeddings=True)  # fmt: skip
    return LlamaForCausalLM(config)


def shard(model):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (int(os.environ["WORLD_SIZE"]),))
    layers = model.model.layers
    for index, layer in enumerate(layers):
        # as accelerate does with --fsdp_activation_checkpointing
        layers[index] = checkpoint_wrapper(layer, preserve_rng_state=False)
        fully_shard(layers[index], mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert is_sharded(model)


def main(out):
    processes = ProcessGroup.launched(cpu=True)
    model = make()
    if processes.world_size > 1:
        shard(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    monitor = _TrainingMonitor("sharded", {STEPS: {2: 0.25, STEPS: 0.75}}, lambda *_: None,
                               keeps=processes.is_main)  # fmt: skip
    own = slice(
        processes.rank * BATCH // processes.world_size,
        (processes.rank + 1) * BATCH // processes.world_size,
    )
    for step in range(1, STEPS + 1):
        batch = torch.randint(0, 64, (BATCH, 8), generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        model(input_ids=batch[own], labels=batch[own]).loss.backward()
        optimiser.step()
        monitor.on_step_end(None, SimpleNamespace(global_step=step), None, model=model)
    monitor.work.close()
    whole = monitor.average(model, STEPS)
    assert bool(whole) == processes.is_main  # the others gather shards, and keep nothing
    if processes.is_main:
        fresh = make()
        load_parameters(fresh, whole)
        save_file({name: p.detach().clone() for name, p in fresh.named_parameters()}, out)
    processes.barrier()


if __name__ == "__main__":
    main(sys.argv[1])
