"""What `training.mixed_precision: bfloat16` saves on this CPU: time of a step, times that in float32.

    python studies/training-overhead/precision.py --width 576 --layers 8 --repeats 3

Both trainings run in one process, on one thread, in turns; times are CPU seconds.
"""

import argparse
from statistics import median

import torch
from overhead import build, ours, seconds

SHORT = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="Of the longer training.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    # a model keeps the precision of its first training
    models = {name: build(args.width, args.layers) for name in ("float32", "bfloat16")}
    for precision, model in models.items():
        ours(model, 1, precision)  # loads what is loaded late
    ratios = []
    for _ in range(args.repeats):
        step = {
            precision: seconds(ours, model, args.steps, precision)
            - seconds(ours, model, SHORT, precision)
            for precision, model in models.items()
        }
        ratios.append(step["bfloat16"] / step["float32"])
    n = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{n:,} parameters: a step in bfloat16 takes {median(ratios):.2f} of the time in float32 "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
