"""A folder with the paths that the documentation uses, and toy content."""

import gzip
import io
import shutil

import pandas as pd
import toy
import yaml
import zstandard
from models_for_tests import model, perturbed, tokenizer
from plans import proposal

NAMES = {"birds": "web", "ships": "code", "sums": "math"}
DOMAINS = tuple(NAMES.values())


def make(folder):
    """Write the sandbox into `folder`."""
    study = folder / "mine"
    base = {"kind": "pretrained", "path": "../models/base", "context": 32}
    phases = [{"name": "stable", "tokens": 15_000}, {"name": "anneal", "tokens": 5_000}]
    toy.write_study(study, base=base, search={"rounds": [7]}, exports=[],
                    validation={"mixtures": 4, "seeds": 1})  # fmt: skip
    _rename(study)
    plain = (study / "toy.yaml").read_text()
    (study / "study.yaml").write_text(plain)
    phased = {k: v for k, v in yaml.safe_load(plain).items() if k != "validation"}
    (study / "phases.yaml").write_text(yaml.safe_dump(phased | {"phases": phases}))
    _save_models(folder)
    for name in ("web", "code"):
        text = (study / "data" / f"{name}.jsonl").read_text()
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "part.jsonl").write_text(text)
        (folder / "data" / name / "part.jsonl.gz").write_bytes(gzip.compress(text.encode()))
        stream = io.BytesIO(text.encode())
        (folder / "data" / name / "part.jsonl.zst").write_bytes(
            zstandard.ZstdCompressor().compress(stream.getvalue())
        )
    # in docs/merging.md the study is in the current folder
    for part in ("experts", "benchmarks", "data"):
        shutil.copytree(study / part, folder / "beside" / part)
    (folder / "beside" / "study.yaml").write_text(plain)
    plan = proposal({"web": 0.6, "code": 0.4, "law": 0.0})
    for place in (folder, folder / "mixopt-runs" / "quickstart"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "proposal.json").write_text(plan.to_json())
    for name in ("toy", "mine"):
        (folder / "mixopt-runs" / name).mkdir(parents=True)
        (folder / "mixopt-runs" / name / "proposal.json").write_text(plan.to_json())
    rows = [
        {"prompt": f"the small web page number {i} sings", "target": " old owl"} for i in range(9)
    ]
    toy.write_jsonl(folder / "benchmarks" / "items.jsonl", rows)
    (folder / "benchmarks" / "gsm8k.yaml").write_text(
        "name: gsm8k\nkind: continuation\nitems: items.jsonl\ncapability: math\n"
    )


def _rename(study):
    for file in sorted(study.rglob("*.*")):
        if file.suffix == ".yaml":
            text = file.read_text()
            for old, new in NAMES.items():
                text = text.replace(old, new)
            file.write_text(text)
        name = file.name
        for old, new in NAMES.items():
            name = name.replace(old, new)
        file.rename(file.with_name(name))


def _save_models(folder):
    network = model("qwen2")
    for place in ("base", "my-base"):
        network.save_pretrained(folder / "models" / place)
        tokenizer().save_pretrained(folder / "models" / place)
    for seed, name in enumerate(("web", "code")):
        expert = model("qwen2")
        expert.load_state_dict(perturbed(network, seed), strict=False)
        for place in (f"runs/{name}", f"runs/{name}/final", f"experts/{name}"):
            expert.save_pretrained(folder / place)


def write_tables(folder):
    """Write tables of runs, which commands may have replaced."""
    rows = [(i / 40, 0.5 - i / 80 + j / 9) for i in range(9) for j in range(3)]
    frame = pd.DataFrame(rows, columns=["math", "code"])
    frame["web"] = 1 - frame.math - frame.code
    loss = (frame.web - 0.5) ** 2 + (frame.code - 0.3) ** 2
    run = pd.Series(range(len(frame)), name="run")
    pd.concat([run, frame[list(DOMAINS)]], axis=1).to_csv(folder / "ratios.csv", index=False)
    pd.DataFrame({"run": run, "val_loss": loss}).to_csv(folder / "metrics.csv", index=False)
    natural = "".join(f"{name}: {1 / len(DOMAINS):.12f}\n" for name in DOMAINS)
    (folder / "natural.yaml").write_text(natural)
    for size, rows in (("1m", frame.index), ("1b", frame.index[::3])):
        pd.concat([run, frame], axis=1).loc[rows].to_csv(folder / f"r{size}.csv", index=False)
        metrics = pd.DataFrame({"run": run, "val_loss": loss + (size == "1m")}).loc[rows]
        metrics.to_csv(folder / f"m{size}.csv", index=False)
    pd.concat([run, frame, loss.rename("val_loss")], axis=1).to_csv(
        folder / "export.csv", index=False
    )
    both = pd.concat([run, frame.add_prefix("ratio/"), loss.rename("val_loss")], axis=1)
    for file, models in (("sized", ("Tiny-60M", "Small-1B")), ("named", ("small", "large"))):
        place = [models[row % 3 == 0] for row in range(len(both))]
        both.assign(model=place).to_csv(folder / f"{file}.csv", index=False)


def log_proposal(experiment):
    """Log the proposal of a study's run to MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    identifier = found.experiment_id if found else client.create_experiment(experiment)
    run = client.create_run(identifier, tags={"mixopt.proposal": "proposal.json"}).info.run_id
    client.log_artifact(run, "proposal.json")


def log_runs(experiment):
    """Log the runs of the table to MLflow, with a client, which changes no global state."""
    from mlflow import MlflowClient

    client = MlflowClient()
    identifier = client.create_experiment(experiment)
    ratios, metrics = pd.read_csv("ratios.csv"), pd.read_csv("metrics.csv")
    for row, loss in zip(ratios.itertuples(), metrics.val_loss, strict=True):
        run = client.create_run(identifier).info.run_id
        for name in DOMAINS:
            client.log_param(run, f"ratio/{name}", getattr(row, name))
        client.log_metric(run, "val_loss", loss)
        client.set_terminated(run)
