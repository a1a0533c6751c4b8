import pytest
import toy
from pydantic import TypeAdapter, ValidationError

from mixopt.config.executors import ExecutorConfig, LocalExecutorConfig, RayExecutorConfig
from mixopt.config.loader import choose_executor, load_study
from mixopt.errors import ConfigError


def parse(plain):
    return TypeAdapter(ExecutorConfig).validate_python(plain)


def test_a_name_alone_is_enough():
    assert parse("ray") == RayExecutorConfig()
    assert parse({"kind": "ray", "gpus": 0.5, "retries": 0}).gpus == 0.5
    assert parse("local") == LocalExecutorConfig()


@pytest.mark.parametrize("plain", [
    "dask", {"kind": "ray", "address": "ray://elsewhere:10001"}, {"kind": "slurm", "setup": ["rm x"]},
    {"kind": "processes", "workers": 0}, {"kind": "local", "retries": -1}, {}, None, 3,
])  # fmt: skip
def test_what_an_executor_is_not(plain):
    """Neither an address nor a command comes from a YAML, whose author would decide."""
    with pytest.raises(ValidationError):
        parse(plain)


def test_another_executor_may_be_chosen_and_its_settings_stay(tmp_path):
    given = {"kind": "ray", "workers": 7}
    config = load_study(toy.write_study(tmp_path, executor=given))
    assert choose_executor(config, "ray").executor.workers == 7
    assert choose_executor(config, "processes").executor.kind == "processes"
    with pytest.raises(ConfigError, match="no executor 'slrum'. Did you mean 'slurm'"):
        choose_executor(config, "slrum")


def test_where_work_is_done_is_in_no_key(tmp_path):
    """Every executor finds the same artifacts."""
    from mixopt.study import Study

    path = toy.write_study(tmp_path)
    folders = []
    for executor in (None, "processes"):
        study = Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu",
                           executor=executor)  # fmt: skip
        folders.append([trained.folder for trained in study.train().values()])
    assert folders[0] == folders[1]


ATTACK = "debug\ntouch /tmp/x\n#"


@pytest.mark.parametrize("field", ["partition", "account", "qos", "constraint"])
@pytest.mark.parametrize("value", [
    ATTACK, "a b", "$(touch x)", "`x`", "a;b", "a'b", 'a"b', "-a", "--wrap=x", "a\x00", "a\u2028b",
    "a" * 300, "",
])  # fmt: skip
def test_no_field_ends_a_line_of_a_job_script(field, value):
    with pytest.raises(ValidationError):
        parse({"kind": "slurm", field: value})


@pytest.mark.parametrize(("field", "value"), [
    ("partition", "gpu_a100,long"), ("account", "abc-12@v100"), ("qos", "qos_gpu-t3"),
    ("constraint", "[rack1|rack2]&gpu*2"), ("constraint", "(h100|a100)&ib"),
])  # fmt: skip
def test_what_slurm_takes(field, value):
    assert getattr(parse({"kind": "slurm", field: value}), field) == value


def test_a_study_with_such_a_field_is_refused_in_one_line(tmp_path):
    study = toy.write_study(tmp_path, executor={"kind": "slurm", "partition": ATTACK})
    with pytest.raises(ConfigError, match="control character|partition") as raised:
        load_study(study)
    assert "\n" not in str(raised.value)
