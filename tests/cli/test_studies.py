import subprocess
import sys

import toy
from calling import ENV, call

from mixopt.config.loader import load_study


def test_init_writes_a_study_that_runs_up_to_its_text(tmp_path):
    toy.write_jsonl(tmp_path / "t.jsonl", [{"text": "x"}])
    told = call(
        "init", tmp_path / "s", "-d", f"a={tmp_path}/t.jsonl", "-d", f"b={tmp_path}/t.jsonl"
    )
    assert "mixopt run" in told
    assert load_study(tmp_path / "s" / "study.yaml").domains == ("a", "b")


def test_bad_study_from_the_shell_as_a_user_sees_it(tmp_path):
    study = toy.write_study(tmp_path, serch={})
    done = subprocess.run(
        [sys.executable, "-m", "mixopt.cli", "run", str(study), "--no-track"],
        capture_output=True, text=True, cwd=tmp_path, env=ENV, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'search'" in done.stderr
