"""A first guess of the ratios from text alone: nothing is trained.

The mixture whose text is nearest to that of the benchmarks that choose, by optimal transport; see
`mixopt.baselines.transport`. Shapes: `d` domains.
"""

from dataclasses import dataclass

from mixopt.baselines.projektor import descend_on_simplex
from mixopt.baselines.transport import Transport
from mixopt.mixture import Mixture
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline.context import StudyContext
from mixopt.pipeline.mixture_runs import order_natural
from mixopt.pipeline.text_samples import collect_samples, equal_weights

STEPS = 30


@dataclass(frozen=True)
class Preview:
    """Ratios from text alone.

    Attributes:
        ratios: The allowed mixture whose text is nearest to the target's.
        natural: The natural mixture.
        distances: Distance of each domain alone from the target, in units of the mean cost.
        distance: That of `ratios`.
        natural_distance: That of `natural`.
        left_out: Benchmarks that choose and have no text.
    """

    ratios: Mixture
    natural: Mixture
    distances: dict[str, float]
    distance: float
    natural_distance: float
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        width = max(len(name) for name in self.ratios)
        lines = [
            "Preview from text alone. Nothing was trained, and no benchmark was scored.",
            f"{'domain':<{width}}  natural  preview  distance of its text from the benchmarks'",
        ]
        for name, ratio in self.ratios.items():
            own = self.distances[name]
            lines.append(f"{name:<{width}}  {self.natural[name]:>7.1%}  {ratio:>7.1%}  {own:.3f}")
        lines.append(
            f"Distance of the mixture: {self.natural_distance:.3f} natural, {self.distance:.3f} "
            "preview. A near text need not be the best to train on."
        )
        if self.left_out:
            lines.append(
                f"Left out, for want of text to compare: {', '.join(self.left_out)}. They choose the "
                "mixture in a study."
            )
        return "\n".join(lines)


def preview_study(context: StudyContext) -> Preview:
    """Return the allowed mixture whose text is nearest to that of the benchmarks that choose.

    Args:
        context: A study whose corpora are built.

    Raises:
        UserError: A domain or the target has too little text.
        MissingExtraError: `mixopt[transport]` is not installed.
    """
    domains, space = context.config.domains, WeightSpace.of_domains(context.space)
    weights = equal_weights(context)
    samples = collect_samples(context, weights, name="preview")
    transport = Transport(samples)
    natural = order_natural(context).vector(domains)
    start = space.pull(natural[None])[0]
    found = descend_on_simplex(transport.distance, space, start, STEPS)
    alone = {
        name: transport.distance(Mixture({n: float(n == name) for n in domains}).vector(domains))[0]
        for name in domains
    }
    return Preview(
        Mixture.from_vector(domains, found), order_natural(context), alone,
        transport.distance(found)[0], transport.distance(natural)[0],
        tuple(name for name, weight in weights.items() if weight and name not in samples.benchmarks),
    )  # fmt: skip
