"""Inputs from anybody: for each kind of file one that is right, and what mixopt does with such a file.

A target takes bytes. It returns where they are accepted, and raises `MixoptError` where they are
refused; anything else is a defect. `tests/contracts` tries some inputs of each, the study
`studies/robustness/inputs.py` many.
"""

import json
import random
import struct
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

import torch
import toy
import yaml
from safetensors.torch import save

from mixopt.errors import MixoptError

Target = Callable[[bytes], None]


@cache
def folder() -> Path:
    """A scratch folder with a study, a base and an expert, made once in a process."""
    place = Path(tempfile.mkdtemp(prefix="mixopt-foreign-"))
    toy.write_study(place / "study")
    return place


@cache
def small_tokenizer():
    from models_for_tests import tokenizer

    return tokenizer()


# --- recipes --------------------------------------------------------------------------------------


def study_yaml() -> bytes:
    return (folder() / "study" / "toy.yaml").read_bytes()


def read_study(content: bytes) -> None:
    from mixopt.config.loader import load_study

    path = folder() / "study" / "foreign.yaml"
    path.write_bytes(content)
    load_study(path).model_dump_json()


def benchmark_yaml() -> bytes:
    return yaml.safe_dump({
        "name": "b", "kind": "multiple_choice", "items": "../data/choice.jsonl",
        "template": "{{ prompt }}",
        "examples": [{"prompt": "a", "choices": ["b", "c"], "answer": 0}], "shots": 1,
    }).encode()  # fmt: skip


def read_benchmark(content: bytes) -> None:
    from mixopt.config.loader import load_benchmark
    from mixopt.evaluation.tasks.base import TaskContext
    from mixopt.evaluation.tasks.registry import build_task

    path = folder() / "study" / "benchmarks" / "foreign.yaml"
    path.write_bytes(content)
    try:
        build_task(load_benchmark(path), TaskContext(small_tokenizer(), 64))
    finally:
        path.unlink()


def propose_yaml() -> bytes:
    return yaml.safe_dump({"upper": {"web": 0.5}, "natural": {"web": 0.5, "code": 0.5}}).encode()


def read_proposal_recipe(content: bytes) -> None:
    from mixopt.config.loader import load_proposal_config

    path = folder() / "propose.yaml"
    path.write_bytes(content)
    load_proposal_config(path).model_dump_json()


# --- tables ---------------------------------------------------------------------------------------


def table_csv() -> bytes:
    rng = random.Random(0)
    rows = ["id,ratio/web,ratio/code,score/loss,score/qa"]
    for index in range(9):
        web = rng.random()
        rows.append(f"r{index},{web:.4f},{1 - web:.4f},{2 + web * web:.4f},{web:.4f}")
    return "\n".join(rows).encode() + b"\n"


def read_csv(content: bytes) -> None:
    import numpy as np

    import mixopt

    path = folder() / "runs.csv"
    path.write_bytes(content)
    trials = mixopt.read_trials(runs=path, better="lower")
    if len(trials) <= 12 and len(trials.domains) <= 3 and len(trials.metrics) <= 3:
        surrogate = mixopt.fit(trials, surrogates="ridge")
        space = mixopt.SearchSpace(trials.domains)
        found = mixopt.propose(surrogate, space, seed=0)[0]
        assert all(np.isfinite(list(found.ratios.values())))


def table_jsonl() -> bytes:
    rows = table_csv().decode().splitlines()
    names = rows[0].split(",")
    told = [dict(zip(names, row.split(","), strict=True)) for row in rows[1:]]
    plain = [{k: v if k == "id" else float(v) for k, v in row.items()} for row in told]
    return "\n".join(json.dumps(row) for row in plain).encode()


def read_rows_of_runs(content: bytes) -> None:
    import mixopt

    path = folder() / "runs.jsonl"
    path.write_bytes(content)
    mixopt.read_trials(runs=path, better="lower")


# --- text and items -------------------------------------------------------------------------------


def documents_jsonl() -> bytes:
    return b'{"text": "the owl sleeps by day", "page": 1}\n{"text": "two ships", "page": "b"}\n'


def read_text(content: bytes) -> None:
    from mixopt.config.text import FilesTextConfig
    from mixopt.data.sources import read_documents

    path = folder() / "text.jsonl"
    path.write_bytes(content)
    source = FilesTextConfig(paths=[str(path)], group="page")
    texts = [document.text for document in read_documents(source) if document.text]
    if sum(map(len, texts)) < 10_000:
        small_tokenizer()(texts or ["a"])


def compressed() -> bytes:
    import gzip

    return gzip.compress(documents_jsonl() * 20, mtime=0)


def read_compressed(content: bytes) -> None:
    from mixopt.data.sources import read_jsonl

    path = folder() / "text.jsonl.gz"
    path.write_bytes(content)
    for _ in read_jsonl(path):
        pass


def parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = BytesIO()
    pq.write_table(pa.table({"text": ["the owl", "two ships"] * 20, "n": list(range(40))}), out)
    return out.getvalue()


def read_columns(content: bytes) -> None:
    from mixopt.data.parquet_files import read_parquet

    path = folder() / "text.parquet"
    path.write_bytes(content)
    for _ in read_parquet(path, None):
        pass


def items_jsonl() -> bytes:
    rows = [
        {"id": i, "prompt": "the owl", "choices": ["sleeps", "sails"], "answer": i % 2,
         "target": " sleeps", "statement": "the owl ____ by day"} for i in range(3)
    ]  # fmt: skip
    return "\n".join(map(json.dumps, rows)).encode() + b"\n"


def read_items(content: bytes) -> None:
    from pydantic import TypeAdapter

    from mixopt.config.benchmarks import BenchmarkConfig
    from mixopt.evaluation.tasks.base import TaskContext
    from mixopt.evaluation.tasks.registry import build_task

    path = folder() / "items.jsonl"
    path.write_bytes(content)
    refused: MixoptError | None = None
    for kind in (
        "multiple_choice",
        "choice_loss",
        "blank_perplexity",
        "continuation",
        "generation",
    ):
        plain = {"name": "b", "kind": kind, "items": str(path), "template": None}
        if kind == "multiple_choice":
            plain["examples"] = str(path)
        try:
            build_task(TypeAdapter(BenchmarkConfig).validate_python(plain),
                       TaskContext(small_tokenizer(), 64))  # fmt: skip
        except MixoptError as error:
            refused = error
    if refused is not None:
        raise refused


# --- weights --------------------------------------------------------------------------------------


def weights() -> bytes:
    return save({"a.weight": torch.zeros(3, 4), "b.weight": torch.ones(2)})


def layout():
    from mixopt.training.base_model import Layout

    return Layout({"a.weight": (3, 4), "b.weight": (2,)}, {}, frozenset())


def read_weights(content: bytes) -> None:
    from mixopt.merging.expert import open_expert

    place = folder() / "expert"
    place.mkdir(exist_ok=True)
    (place / "model.safetensors").write_bytes(content)
    expert = open_expert(place)
    expert.check(layout())
    for name, shape in layout().shapes.items():
        expert.delta(name, torch.zeros(shape))


def header() -> bytes:
    return weights()[8 : 8 + struct.unpack("<Q", weights()[:8])[0]]


def read_header(content: bytes) -> None:
    read_weights(struct.pack("<Q", len(content)) + content + weights()[8 + len(header()) :])


def adapter_config() -> bytes:
    return json.dumps(
        {"r": 2, "lora_alpha": 4, "use_rslora": False, "target_modules": ["a"]}
    ).encode()


def read_adapter(content: bytes) -> None:
    from mixopt.merging.expert import open_expert

    place = folder() / "adapter"
    place.mkdir(exist_ok=True)
    factors = {"base_model.model.a.lora_A.weight": torch.ones(2, 4),
               "base_model.model.a.lora_B.weight": torch.ones(3, 2)}  # fmt: skip
    (place / "adapter_model.safetensors").write_bytes(save(factors))
    (place / "adapter_config.json").write_bytes(content)
    expert = open_expert(place)
    expert.check(layout())
    expert.delta("a.weight", torch.zeros(3, 4))


def index_json() -> bytes:
    return json.dumps(
        {"weight_map": {"a.weight": "x.safetensors", "b.weight": "x.safetensors"}}
    ).encode()


def read_index(content: bytes) -> None:
    from mixopt.merging.checkpoint import Checkpoint

    place = folder() / "shards"
    place.mkdir(exist_ok=True)
    (place / "x.safetensors").write_bytes(weights())
    (place / "model.safetensors.index.json").write_bytes(content)
    Checkpoint(place)


# --- what mixopt wrote ----------------------------------------------------------------------------


def proposal_json() -> bytes:
    from mixopt import Estimate, Mixture, Proposal
    from mixopt.comparison import Comparison

    natural = Comparison("natural", Mixture({"web": 0.5, "code": 0.5}), Estimate(0.2, 0.1))
    ratios, loss = Mixture({"web": 0.25, "code": 0.75}), {"loss": Estimate(2.0, 0.1)}
    return Proposal(ratios, Estimate(1.0, 0.5), loss, (natural,)).to_json().encode()


def read_proposal(content: bytes) -> None:
    import mixopt
    from mixopt.schedule import read_plan

    path = folder() / "proposal.json"
    path.write_bytes(content)
    plan = read_plan(path)
    mixopt.export(plan, "json", paths="/data/{domain}")
    _ = plan.to_json()


def config_yaml() -> bytes:
    import mixopt
    from mixopt.schedule import read_plan

    path = folder() / "right.json"
    path.write_bytes(proposal_json())
    return mixopt.export(read_plan(path), "olmo-core", paths="/data/{domain}").encode()


def read_config(content: bytes) -> None:
    from mixopt.cli.export import _read_file
    from mixopt.exporters.check import check_config
    from mixopt.schedule import read_plan

    path = folder() / "config.yaml"
    path.write_bytes(content)
    plan = folder() / "right.json"
    plan.write_bytes(proposal_json())
    check_config(read_plan(plan), "olmo-core", _read_file(path), paths="/data/{domain}")


def archive() -> bytes:
    from mixopt.artifacts.archive import pack

    place = folder() / "packed"
    if not place.exists():
        (place / "artifacts").mkdir(parents=True)
        (place / "trials.csv").write_text("id\n")
        (place / "artifacts" / "x").write_text("y")
        pack(place, folder() / "right.tar")
    return (folder() / "right.tar").read_bytes()


def read_archive(content: bytes) -> None:
    import shutil

    from mixopt.artifacts.archive import unpack

    path = folder() / "foreign.tar"
    path.write_bytes(content)
    out = folder() / "unpacked"
    shutil.rmtree(out, ignore_errors=True)
    unpack(path, out)


# --- fits -----------------------------------------------------------------------------------------


@cache
def fitted_trials():
    from example_trials import make_trials

    return make_trials(20)


@cache
def surrogate() -> bytes:
    from mixopt.surrogates.fit import fit
    from mixopt.surrogates.serialization import FILE, save_surrogate

    save_surrogate(fit(fitted_trials(), surrogates=["ridge", "trees"]), folder())
    return (folder() / FILE).read_bytes()


def read_surrogate(content: bytes) -> None:
    from mixopt.surrogates.serialization import FILE, load_surrogate

    (folder() / FILE).write_bytes(content)
    load_surrogate(folder(), fitted_trials())


def surrogate_schema() -> bytes:
    with zipfile.ZipFile(BytesIO(surrogate())) as whole:
        return whole.read("schema.json")


def read_schema(content: bytes) -> None:
    """The right arrays under another description."""
    spoiled = BytesIO()
    with zipfile.ZipFile(BytesIO(surrogate())) as whole, zipfile.ZipFile(spoiled, "w") as out:
        for name in whole.namelist():
            out.writestr(name, content if name == "schema.json" else whole.read(name))
    read_surrogate(spoiled.getvalue())


TARGETS: dict[str, tuple[Callable[[], bytes], Target]] = {
    "study": (study_yaml, read_study),
    "benchmark": (benchmark_yaml, read_benchmark),
    "proposal recipe": (propose_yaml, read_proposal_recipe),
    "runs.csv": (table_csv, read_csv),
    "runs.jsonl": (table_jsonl, read_rows_of_runs),
    "text.jsonl": (documents_jsonl, read_text),
    "text.jsonl.gz": (compressed, read_compressed),
    "text.parquet": (parquet, read_columns),
    "items.jsonl": (items_jsonl, read_items),
    "model.safetensors": (weights, read_weights),
    "safetensors header": (header, read_header),
    "adapter_config.json": (adapter_config, read_adapter),
    "index.json": (index_json, read_index),
    "proposal.json": (proposal_json, read_proposal),
    "olmo-core config": (config_yaml, read_config),
    "archive": (archive, read_archive),
    "surrogate.skops": (surrogate, read_surrogate),
    "surrogate schema": (surrogate_schema, read_schema),
}
"""By kind of file: what writes a right one, and what reads one."""
STRUCTURED = {
    "study", "benchmark", "proposal recipe", "runs.jsonl", "text.jsonl", "items.jsonl",
    "safetensors header", "adapter_config.json", "index.json", "proposal.json", "olmo-core config",
    "surrogate schema",
}  # fmt: skip
"""Those that hold JSON or YAML, where values can be replaced one by one."""


def refusal_of(read: Target, content: bytes) -> str | None:
    """What a file is refused with; None where it is accepted."""
    try:
        read(content)
    except MixoptError as error:
        return str(error)
    return None


def is_one_sentence(told: str) -> bool:
    """Whether a refusal is one line of a length that somebody reads."""
    return bool(told) and "\n" not in told and len(told) < 3000
