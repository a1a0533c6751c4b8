"""Nothing under mixopt.data needs torch."""

import subprocess
import sys

import toy

BLOCKED = """
import importlib, pkgutil, sys
from importlib.machinery import PathFinder

class WithoutTorch(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else super().find_spec(name, path, target)

sys.meta_path = [WithoutTorch if finder is PathFinder else finder for finder in sys.meta_path]
import mixopt.data
for module in pkgutil.iter_modules(mixopt.data.__path__, "mixopt.data."):
    importlib.import_module(module.name)
from pathlib import Path
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.data.study_corpora import StudyCorpora
folder = Path(sys.argv[1])
store = ArtifactStore(folder / "store")
corpora = StudyCorpora(load_study(folder / "toy.yaml"), store, store)
assert importlib.util.find_spec("torch") is None
corpora.build()
print(*corpora.natural, corpora.open("birds").read(0, 4).shape)
"""


def test_a_study_is_tokenized_without_torch(tmp_path):
    toy.write_study(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["birds", "ships", "sums", "(4,)"]
