"""Throughput of one worker and of two, as processes and on a Ray cluster, on the same 256 candidates.

    python studies/scale-out/scoring.py --out OUT --candidates 256 --repeats 3

A small Llama (four layers of width 128) and three experts, trained briefly on toy text; the benchmarks
are all of its held-out documents. Each configuration gets a folder of its own, so no score is found
there. Workers have one core and one thread each. The Ray cluster has two nodes of one core, which share
no disk with the driver but a storage URL. Configurations take turns, so other load on the machine
affects all of them; loading the models is timed separately, because a study pays it once.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import toy  # noqa: E402
import yaml  # noqa: E402

RAY_FOLDER = "/tmp/mixopt-ray"
"""Short, because the length of a socket's path is limited."""


def write_study(folder: Path) -> Path:
    """Write a study whose models take some tens of milliseconds a candidate."""
    path = toy.write_study(folder)
    plain = yaml.safe_load(path.read_text())
    plain["base"]["config"] = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4,
                               "num_attention_heads": 4, "tie_word_embeddings": True}  # fmt: skip
    plain["base"]["context"] = 64
    path.write_text(yaml.safe_dump(plain))
    for file in (folder / "benchmarks").glob("*_heldout.yaml"):
        benchmark = yaml.safe_load(file.read_text())
        benchmark.pop("max_items", None)
        file.write_text(yaml.safe_dump(benchmark))
    return path


def score(
    path: Path, folder: Path, experts: Path, rows: list[list[float]], **executor: object
) -> dict:
    """Return seconds for all rows once models are loaded, seconds of loading, and the scores."""
    from mixopt.config.loader import load_study
    from mixopt.study import Study

    shutil.copytree(experts, folder)
    storage, workers = executor.pop("storage", None), executor["workers"]
    config = load_study(path)
    config = type(config).model_validate(config.model_dump(mode="json") | {"executor": executor})
    study = Study(config, folder / "out", cache=folder / "cache", device="cpu", storage=storage)
    began = time.monotonic()
    evaluator = study.open_search().evaluator
    evaluator.prepare()
    rng = np.random.default_rng(99)

    def warm_up() -> None:
        for _ in evaluator.evaluate(rng.dirichlet(np.ones(evaluator.k), 4 * workers).tolist()):
            pass

    warm_up()
    if executor["kind"] == "ray":  # an actor that started late has scored nothing yet
        while len(study.context.dispatcher._executor._free_actors) < workers:
            time.sleep(0.05)
    warm_up()  # every worker has its models now
    loaded = time.monotonic()
    results = list(evaluator.evaluate(rows))
    ended = time.monotonic()
    study.context.close()
    scores = [[r["merged"][m].values.tolist() for m in sorted(r["merged"])] for r in results]
    return {"load s": loaded - began, "score s": ended - loaded, "scores": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--candidates", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    study = write_study(args.out / "study")
    from mixopt.study import Study

    trained = args.out / "trained"
    Study.load(study, trained / "out", cache=trained / "cache", device="cpu").train()
    rows = np.random.default_rng(0).dirichlet(np.ones(3), args.candidates).tolist()

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
    for turn in range(args.repeats):
        for name, executor in ways.items():
            folder = args.out / f"{name.replace(' ', '-')}-{turn}"
            shutil.rmtree(folder, ignore_errors=True)
            given = dict(executor)
            if executor["kind"] == "ray":
                # a new URL: workers keep copies of what they have read from one
                given["storage"] = str(
                    args.out / f"storage-{name.replace(' ', '-')}-{turn}-{os.getpid()}"
                )
            found = score(study, folder, trained, rows, **given)
            scores.append(found.pop("scores"))
            times[name].append(found)
            print(turn, name, {key: round(value, 2) for key, value in found.items()}, flush=True)
            (args.out / "scale-out.json").write_text(json.dumps(times, indent=1))
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
