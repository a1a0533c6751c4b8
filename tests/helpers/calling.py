"""What the tests of the command line share."""

import os

from click.testing import CliRunner

from mixopt.cli.main import main

ENV = {**os.environ, "PYTHONWARNINGS": "default"}


def call(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output
