"""Scores the same 256 candidates with one worker and with two, as processes and on a Ray cluster.

    python studies/scale-out/scoring.py --out OUT --candidates 256 --repeats 3

A small Llama (four layers of 128) and three experts, trained briefly on toy text, and all of its
held-out documents. Each way gets a folder of its own, so nothing is found; workers have one core and one
thread each. The Ray cluster has two nodes of one core, which share no disk with the driver but a storage
URL. Ways take turns, so that what else runs on the machine hits all of them; loading the models is timed
apart, as it is paid once.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import toy  # noqa: E402
import yaml  # noqa: E402

RAY_FOLDER = "/tmp/mixopt-ray"
"""Short, because a socket's path may not be long."""


def write_study(folder: Path) -> Path:
    """A study whose models take some tens of milliseconds a candidate."""
    path = toy.write_study(folder)
    plain = yaml.safe_load(path.read_text())
    plain["base"]["config"] = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4,
                               "num_attention_heads": 4, "tie_word_embeddings": True}  # fmt: skip
    plain["base"]["context"] = 64
    path.write_text(yaml.safe_dump(plain))
    for file in (folder / "benchmarks").glob("*_heldout.yaml"):
        told = yaml.safe_load(file.read_text())
        told.pop("max_items", None)
        file.write_text(yaml.safe_dump(told))
    return path


def score(
    study: Path, folder: Path, experts: Path, rows: list[list[float]], **executor: object
) -> dict:
    """Seconds for all rows once the models are loaded, for that loading, and the scores."""
    from mixopt.study import Study

    shutil.copytree(experts, folder)
    found = Study.load(study, folder / "out", cache=folder / "cache", device="cpu",
                       storage=executor.pop("storage", None))  # fmt: skip
    recipe = found.recipe
    plain = recipe.model_dump(mode="json") | {"executor": executor}
    found.recipe = type(recipe).model_validate(plain)
    began = time.monotonic()
    swarm = found.foundation.swarm
    swarm.prepare()
    rng = np.random.default_rng(99)

    def warm_up() -> None:
        for _ in swarm.score_all(rng.dirichlet(np.ones(swarm.k), 4 * workers).tolist()):
            pass

    workers = executor.get("workers", 1)
    warm_up()
    if executor["kind"] == "ray":  # an actor that got its place late has scored nothing yet
        while len(found.foundation.crew._executor._free) < workers:
            time.sleep(0.05)
    warm_up()  # every worker has its models now
    loaded = time.monotonic()
    results = list(swarm.score_all(rows))
    ended = time.monotonic()
    found.foundation.crew.close()
    told = [[r["merged"][m].values.tolist() for m in sorted(r["merged"])] for r in results]
    return {"load s": loaded - began, "score s": ended - loaded, "scores": told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--candidates", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    told = parser.parse_args()
    study = write_study(told.out / "study")
    from mixopt.study import Study

    trained = told.out / "trained"
    Study.load(study, trained / "out", cache=trained / "cache", device="cpu").train()
    rows = np.random.default_rng(0).dirichlet(np.ones(3), told.candidates).tolist()

    os.makedirs(RAY_FOLDER, exist_ok=True)
    os.environ["RAY_TMPDIR"] = RAY_FOLDER
    import ray
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    cluster.add_node(num_cpus=1, **memory)
    ray.init(address=cluster.address, log_to_driver=False)
    ways = {
        "one process": {"kind": "processes", "workers": 1, "threads": 1},
        "two processes": {"kind": "processes", "workers": 2, "threads": 1},
        "one Ray worker": {"kind": "ray", "workers": 1},
        "two Ray nodes": {"kind": "ray", "workers": 2},
    }
    times: dict[str, list[dict]] = {name: [] for name in ways}
    scores = []
    for turn in range(told.repeats):
        for name, executor in ways.items():
            folder = told.out / f"{name.replace(' ', '-')}-{turn}"
            shutil.rmtree(folder, ignore_errors=True)
            given = dict(executor)
            if executor["kind"] == "ray":
                # never used before: workers keep copies of what is at a URL
                given["storage"] = str(
                    told.out / f"storage-{name.replace(' ', '-')}-{turn}-{os.getpid()}"
                )
            found = score(study, folder, trained, rows, **given)
            scores.append(found.pop("scores"))
            times[name].append(found)
            print(turn, name, {key: round(value, 2) for key, value in found.items()}, flush=True)
            (told.out / "scale-out.json").write_text(json.dumps(times, indent=1))
    ray.shutdown()
    cluster.shutdown()
    same = all(each == scores[0] for each in scores)
    for many, one in (("two processes", "one process"), ("two Ray nodes", "one Ray worker")):
        ratios = [a["score s"] / b["score s"] for a, b in zip(times[one], times[many], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{many} against {one}: {np.median(ratios):.2f} times ({spread})")
    print(f"the same scores to the last digit: {same}")


if __name__ == "__main__":
    main()
