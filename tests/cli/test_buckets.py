import toy
import yaml
from calling import call


def test_buckets_are_written_and_their_paths_printed(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path / "cache"))
    path = toy.write_study(tmp_path, exports=[{"format": "megatron", "out": "m.txt"}])
    assert "No text of the study is split; give an expert a `split`" in call(
        "buckets", path, "-o", tmp_path / "out", code=2
    )
    file = tmp_path / "experts" / "birds.yaml"
    plain = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(plain | {"split": {"by": "length", "quantiles": [0.5]}}))
    benchmark = tmp_path / "benchmarks" / "birds.yaml"
    benchmark.write_text(benchmark.read_text().replace("own_domain: birds\n", ""))
    printed = call("buckets", path, "-o", tmp_path / "out")
    paths = yaml.safe_load(printed[printed.index("paths:") :])["paths"]
    assert list(paths) == ["birds:q1", "birds:q2"]
    assert paths["birds:q2"] == str(tmp_path / "out" / "buckets" / "birds" / "q2.jsonl")
    assert "documents" in printed
