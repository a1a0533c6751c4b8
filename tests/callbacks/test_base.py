import inspect

from mixopt.callbacks.base import Callback
from mixopt.callbacks.console import ConsoleCallback
from mixopt.callbacks.mlflow.callback import MlflowCallback


def test_watchers_override_only_what_may_be_watched():
    known = {name for name, _ in inspect.getmembers(Callback, inspect.isfunction)}
    for watcher in (ConsoleCallback, MlflowCallback):
        own = {n for n, f in vars(watcher).items() if inspect.isfunction(f) and n[0] != "_"}
        assert own <= known


def test_an_observer_does_nothing_by_itself(tmp_path):
    observer = Callback()
    observer.said("x")
    observer.written(tmp_path)
    observer.study_ended(None)
