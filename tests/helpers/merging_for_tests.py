"""Bases and experts on disk, and requests, for the tests of the merging engine."""

import numpy as np
import torch
from safetensors.torch import save_file

from mixopt import Metric
from mixopt.evaluation.tasks.base import ItemResults, Request
from mixopt.merging.expert import open_expert
from mixopt.training.base_model import mergeable


class Fixed:
    """A task whose results are the log-probabilities themselves, summed by request."""

    metric = Metric("fixed")
    truncated = 0
    layout = ()

    def __init__(self, requests):
        self.requests = requests

    def read(self, totals):
        return ItemResults(totals, np.ones(len(totals)))

    @property
    def loss_weights(self):
        return -np.ones(len(self.requests))


def choices(seed=0, items=6, count=4, borders=True):
    """Requests of multiple-choice items, some of whose contexts differ at their ends."""
    rng = np.random.default_rng(seed)
    requests = []
    for item in range(items):
        prompt = rng.integers(1, 300, rng.integers(9, 24)).tolist()
        for choice in range(count):
            border = rng.integers(1, 300, choice % 3).tolist() if borders and item % 2 else []
            target = rng.integers(1, 300, rng.integers(1, 6)).tolist()
            requests.append(Request(prompt + border, target))
    return requests


def texts(seed=0, count=5, length=25):
    rng = np.random.default_rng(seed)
    return [Request([0], rng.integers(1, 300, length).tolist()) for _ in range(count)]


def save_tensors(folder, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: t.detach().clone().contiguous() for name, t in tensors.items()}
    save_file(plain, folder / "model.safetensors")
    return folder


def save_model(folder, network):
    """A base in the names it has in memory, with its configuration."""
    network.config.save_pretrained(folder)
    return save_tensors(folder, mergeable(network))


def save_experts(folder, network, k=3, size=0.02):
    """`k` experts of a base, each moved a little."""
    generator = torch.Generator().manual_seed(1)
    opened = []
    for index in range(k):
        moved = {
            name: t + size * torch.randn(t.shape, generator=generator).to(t.dtype)
            for name, t in mergeable(network).items()
        }
        opened.append(open_expert(save_tensors(folder / f"expert-{index}", moved)))
    return opened
