"""Creation of a tracking database that appears whole.

MLflow creates a database by dozens of migrations in place. A process that is killed in between leaves
one that no later process can open.
"""

import logging
import shutil
import tempfile
from pathlib import Path

from mlflow.tracking import MlflowClient

from mixopt.callbacks.mlflow.tracking import SQLITE
from mixopt.io.files import publish_file

log = logging.getLogger(__name__)


def ensure_store(uri: str) -> None:
    """Create the SQLite database of a tracking URI where there is none.

    It is created in a temporary folder and moved to its place. If another process is faster, its
    database stays.

    Args:
        uri: Tracking URI; nothing is done for a store of another kind.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    path = Path(uri.removeprefix(SQLITE).partition("?")[0])
    # MLflow itself reports what it cannot open: a name it would decode, or a folder that is missing
    if not uri.startswith(f"{SQLITE}/") or "%" in str(path) or not path.parent.is_dir():
        return
    if path.exists() and path.stat().st_size > 0:
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        made = Path(scratch) / "mlflow.db"
        MlflowClient(f"{SQLITE}{made}").search_experiments()
        with publish_file(path) as place:
            shutil.copyfile(made, place)
