"""What somebody sends you runs no code, writes nothing elsewhere, and opens no network."""

import io
import json
import pickle
import socket
import tarfile

import pytest
import torch
import toy
from calling import call
from safetensors.torch import save_file

from mixopt.config.loader import load_study
from mixopt.data.tokenizer import load_tokenizer
from mixopt.errors import ConfigError, ExportError, MixoptError, ModelError
from mixopt.merging.checkpoint import Checkpoint
from mixopt.study import Study
from mixopt.training.device import Device
from mixopt.training.model_loading import load_config, load_model


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A file that whoever runs a stranger's code would write."""
    place = tmp_path / "trapped"
    monkeypatch.setenv("MIXOPT_TRAP", str(place))
    yield place
    assert not place.exists(), "a stranger's code was run"


CODE = """
import os
open(os.environ['MIXOPT_TRAP'], 'w').close()
class X: pass
def write(plan): return ''
"""


class Bomb:
    def __reduce__(self):
        return exec, (CODE,)


def test_code_beside_a_model_is_not_run(tmp_path, trap, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\ny\n"))  # nobody is asked
    names = {
        "AutoConfig": "evil.X",
        "AutoModelForCausalLM": "evil.X",
        "AutoTokenizer": ["evil.X", None],
    }
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "evil.py").write_text(CODE)
    (tmp_path / "m" / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": names})
    )
    told = json.dumps({"auto_map": names, "tokenizer_class": "X"})
    (tmp_path / "m" / "tokenizer_config.json").write_text(told)
    save_file({"a": torch.zeros(1)}, tmp_path / "m" / "model.safetensors")
    device = Device("cpu", torch.float32)
    for load in (load_config, load_tokenizer, lambda path: load_model(path, device)):
        with pytest.raises(ModelError):
            load(str(tmp_path / "m"))


def test_pickles_are_refused_by_whatever_name_they_come(tmp_path, trap):
    bomb = pickle.dumps(Bomb())
    index = {"weight_map": {"a": "shard.bin"}}
    for name, files in {
        "plain": {"pytorch_model.bin": bomb},
        "index": {"model.safetensors.index.json": json.dumps(index).encode(), "shard.bin": bomb},
        "disguised": {"model.safetensors": bomb},
        "adapter": {"adapter_model.bin": bomb, "adapter_config.json": b'{"r": 1, "lora_alpha": 1}'},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        with pytest.raises(ModelError):
            Checkpoint(folder)
    with pytest.raises(ModelError, match="is not a whole pickled state dict"):
        Checkpoint(tmp_path / "plain", allow_pickle=True)  # opened, by a reader that runs nothing


@pytest.mark.parametrize("section", [
    {"name": "!!python/object/apply:os.system ['touch x']"},
    {"name": "../../elsewhere"},
    {"exports": [{"format": "json", "out": "../../elsewhere.json"}]},
    {"exports": [{"format": "json", "out": "/tmp/elsewhere.json"}]},
    {"executor": {"kind": "ray", "address": "ray://evil:10001"}},
    {"executor": {"kind": "slurm", "setup": ["touch x"]}},
])  # fmt: skip
def test_a_recipe_says_nothing_of_these(tmp_path, section):
    path = toy.write_study(tmp_path, **section)
    with pytest.raises(ConfigError):
        load_study(path)


def test_tags_build_no_objects(tmp_path, trap):
    path = toy.write_study(tmp_path)
    path.write_text(path.read_text() + "exports: !!python/object/apply:builtins.exec ['1']\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_study(path)


def test_a_format_of_ones_own_is_code(tmp_path, trap, monkeypatch):
    (tmp_path / "evil.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = toy.write_study(tmp_path / "s", exports=[{"format": "evil:write", "out": "x.txt"}])
    study = Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    with pytest.raises(ExportError, match="runs Python that the config names; pass --run-code"):
        study.run()


@pytest.mark.parametrize("template", [
    "{{ ().__class__.__base__.__subclasses__() }}", "{{ cycler.__init__.__globals__.os.system('x') }}",
    "{{ 'a' * 999999999 }}", "{{ 9 ** 999999999 }}", "{{ '%*d' % (999999999, 1) }}",
    "{{ 'a'.ljust(999999999) }}", "{{ '{:999999999}'.format(1) }}", "{% include '/etc/passwd' %}",
])  # fmt: skip
def test_templates_reach_nothing_and_swell_nothing(template):
    from mixopt.evaluation.tasks.template import Template

    with pytest.raises(MixoptError):
        Template(template, "b").write({"prompt": "x"}, "item 1")


def test_an_archive_stays_in_its_folder(tmp_path):
    for number, (name, kind, link) in enumerate([
        ("../escaped", tarfile.REGTYPE, ""), ("/tmp/mixopt-escaped", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "/etc"), ("hard", tarfile.LNKTYPE, "/etc/passwd"),
        ("device", tarfile.CHRTYPE, ""), ("pipe", tarfile.FIFOTYPE, ""),
    ]):  # fmt: skip
        archive = tmp_path / f"{number}.tar"
        with tarfile.open(archive, "w") as tar:
            index = json.dumps({"files": {name: [1, "0"]}}).encode()
            head = tarfile.TarInfo("pack.json")
            head.size = len(index)
            tar.addfile(head, io.BytesIO(index))
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = 1 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"x"))
        from mixopt.artifacts.archive import unpack

        with pytest.raises(MixoptError):
            unpack(archive, tmp_path / "deep" / f"out-{number}")
    assert not (tmp_path / "deep" / "escaped").exists()
    assert not list((tmp_path / "deep").glob("out-*"))


@pytest.mark.slow
def test_a_study_opens_no_network_and_writes_nowhere_else(tmp_path, monkeypatch):
    """The whole road of a recipe that names no hub id, with every connection forbidden."""

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError(f"a connection to {address}")
        return original(self, address)

    original = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail(f"asks for {a[0]}"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path / "cache"))
    path = toy.write_study(tmp_path / "study", exports=[{"format": "json", "out": "plan.json"}])
    before = set(tmp_path.rglob("*"))
    call("run", str(path), "-o", str(tmp_path / "out"), "--device", "cpu", "--no-track")
    new = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*") if p not in before}
    assert new == {"out", "cache"}


@pytest.mark.parametrize("path", ["http://localhost:9/x", "json", "csv", "s3://bucket/x"])
def test_text_comes_from_folders_and_from_the_hub_alone(tmp_path, path, monkeypatch):
    from mixopt.config.text import HubTextConfig
    from mixopt.data.sources import read_documents

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MixoptError):
        list(read_documents(HubTextConfig(kind="huggingface", path=path)))
