import pytest
from pydantic import ValidationError

from mixopt.config.text import FilesTextConfig
from mixopt.config.training import ExpertConfig, ExpertTrainingConfig, TrainingConfig


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrainingConfig(tokens=0), "greater than 0"),
        (lambda: TrainingConfig(tokens=1, schedule="sqrt"), "Input should be 'constant'"),
        (lambda: TrainingConfig(tokens=1, schedule="linear", decay_share=0), "greater than 0"),
        (lambda: ExpertTrainingConfig(tokens=1, average="best"), "Input should be 'mean'"),
        (lambda: ExpertTrainingConfig(tokens=1, average_floor=1), "less than 1"),
        (
            lambda: ExpertConfig(domain="../x", text=FilesTextConfig(paths=["x"])),
            "should match pattern",
        ),
        (lambda: ExpertConfig(domain="x", text={"kind": "magic"}), "Input tag 'magic'"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()


def test_ratios_may_be_percent_or_counts():
    config = ExpertTrainingConfig(
        tokens=1,
        anchor_share=0.5,
        anchor={"a": 40, "b": 60},
        compositions={"x": {"a": 1e9, "b": 3e9}},
    )
    assert config.anchor == pytest.approx({"a": 0.4, "b": 0.6})
    assert (config.compositions or {})["x"] == {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"decay_share": 0.2}, "decay_share goes with schedule: linear, .* schedule is constant"),
        (
            {"anchor": {"a": 1.0}},
            "anchor is the mixture .* anchor_share is 0; give an anchor_share",
        ),
        ({"average_floor": 0.1}, "average_floor goes with average: linear, .* average is mean"),
        ({"average_floor": 0.1, "average": "ema"}, "average is ema; leave it out"),
        ({"lora": {"rank": 4}}, "lora goes with method: lora, and method is full; leave one"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(given, words):
    with pytest.raises(ValidationError, match=words):
        ExpertTrainingConfig.model_validate({"tokens": 1} | given)


def test_a_config_that_is_written_with_all_defaults_loads_again():
    config = ExpertTrainingConfig(tokens=1)
    assert ExpertTrainingConfig.model_validate(config.model_dump(mode="json")) == config
    used = {"schedule": "linear", "decay_share": 0.2, "anchor_share": 0.5, "anchor": {"a": 1.0},
            "average": "linear", "average_floor": 0.1, "method": "lora",
            "lora": {"rank": 4}}  # fmt: skip
    assert ExpertTrainingConfig.model_validate({"tokens": 1} | used).decay_share == 0.2


def test_what_saves_memory_does_not_train_again():
    plain = ExpertTrainingConfig(tokens=1000)
    saving = {"device_batch": 2, "gradient_checkpointing": True, "max_epochs": 4.0}
    assert ExpertTrainingConfig(tokens=1000, **saving).artifact_key() == plain.artifact_key()
    assert (
        ExpertTrainingConfig(tokens=1000, weight_decay=0.0).artifact_key() != plain.artifact_key()
    )
