import inspect

from mixopt.runtime.narrator import Narrator
from mixopt.runtime.observer import Observer
from mixopt.runtime.tracking import MlflowTracker


def test_watchers_override_only_what_may_be_watched():
    known = {name for name, _ in inspect.getmembers(Observer, inspect.isfunction)}
    for watcher in (Narrator, MlflowTracker):
        own = {n for n, f in vars(watcher).items() if inspect.isfunction(f) and n[0] != "_"}
        assert own <= known


def test_an_observer_does_nothing_by_itself(tmp_path):
    observer = Observer()
    observer.said("x")
    observer.written(tmp_path)
    observer.study_ended(None)
