"""The entry point of the shell, which handles signals before anything else is imported."""

import sys

from mixopt.io.interrupts import is_stopping, stop_exit_code, stop_on_signals

STOPPED = "mixopt: interrupted; finished work is kept, run again to continue."


def main() -> None:
    """Run the command of `sys.argv`."""
    try:
        with stop_on_signals():
            from mixopt.cli.main import main as run

            run()
    except BaseException as error:
        # a library may turn an interrupted import into an error of its own
        if not isinstance(error, KeyboardInterrupt) and (
            not is_stopping() or isinstance(error, SystemExit)
        ):
            raise
        sys.stderr.write(f"{STOPPED}\n")
        sys.exit(stop_exit_code())
