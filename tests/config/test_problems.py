import pytest
import toy

from mixopt.config.loader import load_study
from mixopt.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"validation": {"tokens": 5}},
            "'tokens' is a field of .*target.* not of validation; move it",
        ),
        ({"rounds": [6]}, "rounds is not a field. 'rounds' is a field of search and not of this"),
        ({"search": {"seed": 1}}, "'seed' is a field of .*the top level"),
        (
            {"search": {"groups": {"g": {"uper": 1}}}},
            "groups.g.uper is not a field. .* mean 'upper'",
        ),
        (
            {"target": {"tokens": 1, "zzz": 1}},
            "target.zzz is not .* Known: max_repetition, tokens.",
        ),
        ({"executor": {"kind": "slurm", "partitin": "x"}}, "Did you mean 'partition'"),
        ({"base": {"kind": "build", "vocab": 3}}, "base.build.vocab is .* mean 'vocabulary'"),
    ],
)
def test_what_is_no_field_is_advised_by_the_fields_of_its_section(tmp_path, changes, words):
    """A field of another section was advised by its own name."""
    with pytest.raises(ConfigError, match=words):
        load_study(write(tmp_path, changes))


def write(folder, changes):
    if "base" in changes:
        changes = {"base": toy.study_plain()["base"] | changes["base"]}
    return toy.write_study(folder, **changes)
