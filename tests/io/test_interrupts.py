import signal
import subprocess
import sys
import time

import pytest

from mixopt.io.interrupts import is_stopping, stop_exit_code, stop_on_signals

LOST = """
import ctypes, sys, time
from mixopt.io.interrupts import stop_on_signals

@ctypes.CFUNCTYPE(None)
def callback():
    print("ready", flush=True)
    time.sleep(600)

with stop_on_signals():
    callback()
    print("lost", flush=True)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        print("seen", flush=True)
"""
CLEANING = """
import time
from mixopt.io.interrupts import acknowledge_stop, stop_on_signals

with stop_on_signals():
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        acknowledge_stop()
        print("cleaning", flush=True)
        time.sleep(600)
"""
IMPORTING = """
import sys, time

class SlowImport:
    def find_spec(self, name, *_):
        if name == "click":
            print("ready", flush=True)
            time.sleep(600)

sys.meta_path.insert(0, SlowImport())
from mixopt.cli.start import main
sys.argv = ["mixopt", "--help"]
main()
"""
SWALLOWED = IMPORTING.replace(
    "time.sleep(600)",
    """
            try:
                time.sleep(600)
            except KeyboardInterrupt:
                raise ImportError("the C extensions failed")""",
)


def start(program):
    """A program that has printed that it is ready; it ignores no signal, also under nohup."""
    reset = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    reset += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", reset + program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process):
    """Its exit code and output; it would go on for ten minutes by itself."""
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, output, errors


def test_a_signal_that_a_callback_swallowed_is_raised_again():
    process = start(LOST)
    process.send_signal(signal.SIGINT)
    code, output, errors = finish(process)
    assert output == "lost\nseen\n"
    assert "Exception ignored" in errors
    assert code == 0


def test_the_second_ctrl_c_ends_at_once():
    process = start(CLEANING)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    assert "ended at once" in errors


def test_what_cleans_up_is_not_interrupted_again():
    process = start(
        CLEANING.replace("time.sleep(600)", 'time.sleep(3); print("clean", flush=True)')
    )
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, output, _ = finish(process)
    assert output.endswith("clean\n")


@pytest.mark.parametrize("program", [IMPORTING, SWALLOWED], ids=["import", "swallowed"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_libraries_are_imported_is_one_sentence(program, name):
    process = start(program)
    process.send_signal(getattr(signal, name))
    code, _, errors = finish(process)
    assert code == 128 + getattr(signal, name)
    assert "mixopt: interrupted; finished work is kept, run again to continue." in errors
    assert "Traceback" not in errors


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not is_stopping()
    assert stop_exit_code() == 130
