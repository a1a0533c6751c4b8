# ruff: noqa: E402, T201
"""A tour of the Python API: from a table of runs to a proposal to a trainer's config.

Run it as a script, or cell by cell in an editor that knows `# %%`. It needs no files, no torch and no
network. It writes into the current folder.
"""

# %% [markdown]
# # A table of runs
#
# One row per training run: the ratios of its tokens, and what it scored. Here the scores come from a
# formula with noise, so that the best mixture is known.

# %%
from pathlib import Path

import numpy as np
import pandas as pd

import mixopt

domains = ["web", "code", "math"]
rng = np.random.default_rng(0)
ratios = rng.dirichlet([4, 2, 1], size=40)
frame = pd.DataFrame(ratios, columns=domains)
frame["arc_loss"] = 1.2 + (frame.web - 0.55) ** 2 + 0.5 * (frame.math - 0.15) ** 2
frame["mbpp_loss"] = 2.0 - 0.4 * np.sqrt(frame.code) - 0.1 * np.sqrt(frame.math)
frame[["arc_loss", "mbpp_loss"]] += rng.normal(0, 0.005, size=(40, 2))

metrics = {"arc_loss": "lower", "mbpp_loss": "lower"}
trials = mixopt.Trials.from_frame(frame, domains=domains, metrics=metrics)
print(trials)

# %% [markdown]
# `metrics` says which way each metric is better. Tables in files, and those of trackers, are read by
# `mixopt.read_trials`, which finds ratios, metrics and directions itself and joins two tables by run.

# %% [markdown]
# # A surrogate
#
# The default weights seven surrogate models by cross-validation. `seed` makes a step repeatable.

# %%
surrogate = mixopt.fit(trials, target="utility", seed=0)
for fitted in surrogate.metrics:
    print(f"{fitted.metric.name}: rank of left-out runs {fitted.rank_correlation:+.2f}")

# %% [markdown]
# Predictions are in the metric's own unit, with a calibrated interval.

# %%
mixture = mixopt.Mixture({"web": 0.5, "code": 0.35, "math": 0.15})
for name, estimate in surrogate.estimate(mixture).items():
    low, high = estimate.interval
    print(f"{name} at {mixture}: {estimate.mean:.3f} [{low:.3f}, {high:.3f}]")

# %% [markdown]
# # A proposal
#
# The search space holds what you allow. The prior is the natural mixture, what you would do otherwise.
# The proposal is compared with it.

# %%
space = mixopt.SearchSpace(
    trials.domains,
    lower={"web": 0.3},
    upper={"math": 0.2},
    prior={"web": 0.7, "code": 0.2, "math": 0.1},
)
proposal = mixopt.propose(surrogate, space, seed=0)[0]
print(proposal.ratios)
print(proposal.verdict)
for comparison in proposal.comparisons:
    low, high = comparison.gain.interval
    print(f"gain over {comparison.name}: {comparison.gain.mean:+.2f} [{low:+.2f}, {high:+.2f}]")

# %% [markdown]
# Ties are mixtures that cannot be distinguished from the proposal. Wide ranges leave you a choice.

# %%
for domain, (low, high) in proposal.ties.ranges.items():
    print(f"{domain}: {low:.2f} to {high:.2f}")

# %% [markdown]
# A proposal is a JSON file, and comes back as it was.

# %%
proposal.write("proposal.json")
again = mixopt.Proposal.read("proposal.json")
assert again.ratios == proposal.ratios

# %% [markdown]
# # Figures
#
# `mixopt.plots` returns the report's figures. A notebook displays them, and `save` writes a PNG file.

# %%
mixopt.plots.plot_ratios(proposal).save("ratios.png")
mixopt.plots.plot_gains(proposal).save("gains.png")
mixopt.plots.plot_predicted(surrogate).save("predicted.png")

# %% [markdown]
# # The next runs
#
# Which mixtures should be run next, so that the surrogate learns most?

# %%
for run in mixopt.design_runs(space, 4, seed=0, seen=[trial.ratios for trial in trials]):
    print(run)

# %% [markdown]
# # A config for a trainer

# %%
mixopt.export(proposal, "megatron", paths="/data/{domain}_text_document", out="blend.txt")
print(Path("blend.txt").read_text())
