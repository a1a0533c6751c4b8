"""What threads that spin while they wait cost on a machine that is shared: milliseconds of a step.

    python studies/training-overhead/waiting.py [--threads 2] [--busy 1]

Trains a model of 0.5M parameters in processes of their own, with OpenMP's waiting threads spinning (the
default of GNU's library) and passive, in turns; first alone, then beside `--busy` processes that never
wait.
"""

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

STEP = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch
from overhead import bare, build
torch.set_num_threads(int(sys.argv[2]))
model = build(96, 3)
bare(model, 2)
start = time.perf_counter()
bare(model, int(sys.argv[3]))
print(1e3 * (time.perf_counter() - start) / int(sys.argv[3]))
"""


def step_ms(policy: str | None, threads: int, steps: int) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if policy is None else {"OMP_WAIT_POLICY": policy}
    command = [sys.executable, "-c", STEP, str(Path(__file__).parent), str(threads), str(steps)]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(printed.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    for busy in (0, args.busy):
        found: dict[str | None, list[float]] = {None: [], "PASSIVE": []}
        with ExitStack() as stack:
            for _ in range(busy):
                other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                stack.callback(other.wait)
                stack.callback(other.kill)
            for _ in range(args.turns):
                for policy, times in found.items():
                    times.append(step_ms(policy, args.threads, 10 if busy else 40))
        for policy, times in found.items():
            print(
                f"beside {busy} other: {policy or 'spinning'} {median(times):.0f} ms a step "
                f"({min(times):.0f} to {max(times):.0f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
