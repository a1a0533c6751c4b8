"""A gain model of four domains and five metrics, whose ensembles' gains are linear in the ratios."""

import numpy as np

from mixopt.surrogates.gain_model import GainModel, GainPrior, Mixtures, Runs

NATURAL = np.array([0.5, 0.2, 0.2, 0.1])
SLOPES = np.random.default_rng(5).normal(size=(4, 5))
CAPABILITIES = np.array([0, 0, 1, 1, 2])
EXPERT = 1e5


def make_model(**changes):
    spreads = np.array([1.0, 0.5, 2.0, 1.0, 0.1])
    return GainModel(GainPrior(**changes), NATURAL, EXPERT, spreads, CAPABILITIES, np.full(5, 0.15))


def at(ratios, tokens):
    rows = np.atleast_2d(ratios)
    return Mixtures(rows, np.full(len(rows), float(tokens)), (rows - NATURAL) @ SLOPES)


def runs(mixtures, gains, seeds=None):
    seeds = np.zeros(len(gains), int) if seeds is None else np.asarray(seeds)
    return Runs(mixtures.ratios, mixtures.tokens, mixtures.proxy_gains, gains, seeds)


def draw_mixtures(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(4), size=n)
