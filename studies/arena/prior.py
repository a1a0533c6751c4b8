"""Fit the prior of the gain model to development worlds, by marginal likelihood.

    python studies/arena/prior.py A B C

Prints the prior fitted to each world, to all of them, and how well a prior that was fitted to the other
worlds covers each: share inside 80% and 95% intervals and root mean square of z, without any run.
"""

import argparse
from dataclasses import asdict, replace

import numpy as np
from pooled import TARGET, Pooled
from scipy.optimize import minimize
from worlds import LENGTHS, WORLDS

from mixopt.surrogates.gain_model import GainModel, GainPrior, Mixtures, Runs

FITTED = ("scale", "growth", "bias", "bias_floor", "relative", "length_scale", "forgetting")
"""Fitted numbers. A world shows one draw of u_0 and u_1, so that their spread cannot be fitted to a few
worlds; it is that of finding 4 of the first measurements (relative standard deviation .2)."""
SHARES = ("within", "across", "noise_within")
SEEN = (LENGTHS[3], LENGTHS[5])
"""Lengths of the runs that the prior is fitted to: 1 and 4 units."""


def observations(pool: Pooled, tokens: int, gamma: float) -> tuple[GainModel, Runs]:
    """Return the model of a world with a default prior, and every run of the pool at two lengths."""
    gains = pool.ensemble_gains(tokens, gamma)
    keys = [(name, seed, length) for name in pool.names[1:] for seed in pool.seeds(name)[:1]
            for length in SEEN]  # fmt: skip
    index = [pool.names.index(name) for name, _, _ in keys]
    runs = Runs(
        pool.ratios[index], np.array([length for *_, length in keys], float), gains[index],
        np.stack([pool.gains[key] for key in keys]), np.array([seed for _, seed, _ in keys]),
    )  # fmt: skip
    model = GainModel(GainPrior(), pool.natural, float(tokens), pool.spreads, pool.capability,
                      pool.noise_sd)  # fmt: skip
    return model, runs


def unpack(vector: np.ndarray) -> GainPrior:
    positive = dict(zip(FITTED, np.exp(vector[: len(FITTED)]).tolist(), strict=True))
    shares = dict(zip(SHARES, (0.95 / (1 + np.exp(-vector[len(FITTED) :]))).tolist(), strict=True))
    shares["within"] = max(shares["within"], shares["across"])
    return GainPrior(**positive, **shares)


def fit_prior(worlds: list[tuple[GainModel, Runs]], steps: int = 60) -> GainPrior:
    """Return the prior of the highest likelihood over worlds, with a weak prior of its own."""
    start = GainPrior()
    positive = [np.log(getattr(start, name)) for name in FITTED]
    shares = [np.log(getattr(start, name) / (0.95 - getattr(start, name))) for name in SHARES]
    first = np.array(positive + shares)
    # the mean is known to a fifth, the rest to a factor of three
    widths = np.where(np.arange(len(first)) < 2, 0.2, 1.0)

    def loss(vector: np.ndarray) -> float:
        prior = unpack(vector)
        try:
            likelihoods = [
                replace(model, prior=prior).condition(runs).log_likelihood for model, runs in worlds
            ]
        except np.linalg.LinAlgError:
            return 1e9
        return -sum(likelihoods) + 0.5 * float(np.square((vector - first) / widths).sum())

    found = minimize(loss, first, method="Powell", options={"maxfev": steps * len(first)},
                     bounds=[(x - 4, x + 4) for x in first])  # fmt: skip
    return unpack(found.x)


def coverage(pool: Pooled, model: GainModel, runs: Runs | None, gains: np.ndarray) -> np.ndarray:
    """Return share inside 80% and 95%, root mean square and mean of z over utilities and mixtures."""
    asked = Mixtures(pool.ratios[1:], np.full(len(pool.names) - 1, float(TARGET)), gains[1:])
    truth, z = pool.truth(), []
    for utility in pool.world.utilities():
        if utility.worst:
            continue
        rows = pool.combinations(utility)
        mean, covariance = model.condition(runs).gains(asked, rows)
        counts = np.array([len(pool.seeds(name)) for name in pool.names[1:]])
        error = (rows[0] ** 2) @ model.noise_sd**2 / counts
        sd = np.sqrt(np.diag(covariance[:, 0, :, 0]) + error)
        z.append((mean[:, 0] - (truth[1:] @ rows.T)[:, 0]) / sd)
    flat = np.concatenate(z)
    return np.array([(np.abs(flat) < 1.2816).mean(), (np.abs(flat) < 1.96).mean(),
                     np.sqrt(np.square(flat).mean()), flat.mean()])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worlds", nargs="+", choices=WORLDS)
    parser.add_argument("--tokens", type=int, default=LENGTHS[0])
    parser.add_argument("--gamma", type=float, default=0.6)
    parser.add_argument("--part", default="item")
    args = parser.parse_args()
    pools = {name: Pooled(WORLDS[name], args.part) for name in args.worlds}
    data = {name: observations(pool, args.tokens, args.gamma) for name, pool in pools.items()}

    def tell(label: str, prior: GainPrior) -> None:
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in asdict(prior).items())
        print(f"{label}: {numbers}", flush=True)

    for name, pool in pools.items():
        others = [data[other] for other in data if other != name] or [data[name]]
        prior = fit_prior(others)
        tell(f"without {name}", prior)
        model = replace(data[name][0], prior=prior)
        gains = pool.ensemble_gains(args.tokens, args.gamma)
        inside80, inside95, rms, mean = coverage(pool, model, None, gains)
        print(f"  {name}, no run: {inside80:.2f} inside 80%, {inside95:.2f} inside 95%, "
              f"rms z {rms:.2f}, mean z {mean:+.2f}")  # fmt: skip
    tell("all", fit_prior(list(data.values())))


if __name__ == "__main__":
    main()
