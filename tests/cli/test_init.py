import toy
from calling import call

from mixopt.config.loader import load_study


def test_init_writes_a_study_that_runs_up_to_its_text(tmp_path):
    toy.write_jsonl(tmp_path / "t.jsonl", [{"text": "x"}])
    told = call(
        "init", tmp_path / "s", "-d", f"a={tmp_path}/t.jsonl", "-d", f"b={tmp_path}/t.jsonl"
    )
    assert "mixopt run" in told
    assert load_study(tmp_path / "s" / "study.yaml").domains == ("a", "b")
