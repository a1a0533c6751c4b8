import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

SHARED = Path(__file__).parent.parent.parent / "shared"


# Each small training collects garbage twice, and need not look through pytest and all libraries.
@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of slow tests, so that no process waits for one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def _modules_imported_meanwhile() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _own_log_level() -> Iterator[None]:
    """The command line sets a level; the next test in the same process gets the one from before."""
    logger = logging.getLogger("mixopt")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture(scope="session")
def trained_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy study's YAML and its trained base and experts; tests write nothing there."""
    import toy

    folder = tmp_path_factory.mktemp("toy")
    toy.write_study(folder)
    toy.load(folder).train()
    return folder


@pytest.fixture
def toy_folder(trained_toy: Path, tmp_path: Path) -> Path:
    """A copy of the trained toy study that a test may change; `toy.write_study` replaces its YAML."""
    import toy

    toy.write_study(tmp_path)
    return toy.copy_trained(trained_toy, tmp_path)
