"""The user's own tracking store: where it is, and whether records and artifacts may go there.

A folder of results may come from others, with a queue of records in it. Neither the queue nor the folder
chooses the store. The artifact location of a run is chosen by the store, or by whoever created the
experiment; a store elsewhere may not name files of this machine, nor another server, which would
receive the user's token.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow

from mixopt.errors import UserError, one_line

SQLITE = "sqlite:///"
FEWEST_SECRET = 4
"""Characters of a password that is looked for in messages; a shorter one is part of many words."""
NAMED_STORES = ("databricks", "databricks-uc", "uc")
"""Stores that MLflow knows by a name instead of a URI."""
FILE_SCHEMES = ("", "file")
SERVED_SCHEMES = ("http", "https", "mlflow-artifacts")
"""Artifact locations at a tracking server, to which MLflow sends the user's credentials."""
DIRECT_SCHEMES = ("", "file", "sqlite", "postgresql", "mysql", "mssql")
"""Stores without a server: this process itself chooses the artifact locations of experiments."""
REMOTE_SCHEMES = (
    *SERVED_SCHEMES, "s3", "r2", "b2", "gs", "wasbs", "abfss", "ftp", "sftp", "dbfs", "hdfs", "viewfs",
)  # fmt: skip
"""Artifact locations of MLflow that are on no disk of this machine."""


def fail_fast() -> None:
    """Turn MLflow's own retries off, and its progress bars.

    They wait for minutes and may create a run twice; records that were not taken stay in the queue.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def tracking_uri() -> str:
    """Return this process's tracking URI with paths made absolute."""
    return absolute_uri(str(mlflow.get_tracking_uri()))


def absolute_uri(uri: str) -> str:
    """Return a tracking URI with paths made absolute.

    Args:
        uri: A URI, the path of a folder, or a name of MLflow's.
    """
    if uri.startswith(SQLITE) and not uri.startswith(f"{SQLITE}/"):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
    return uri if ":" in uri or uri in NAMED_STORES else str(Path(uri).absolute())


def explain(error: Exception) -> str:
    """Return an error's message in one line, without the password of the tracking URI.

    A library that takes the URI apart at the first @ calls the end of the password a host.
    """
    text, uri = str(error), tracking_uri()
    login, mark, rest = uri.partition("://")[2].rpartition("@")
    host = re.split(r"[:/?]", rest)[0]
    if mark:
        text = text.replace(f"{login}@", "")
        if host:
            text = re.sub(rf"[^\s\"'/]*@(?={re.escape(host)})", "", text)
        password = login.partition(":")[2]
        if len(password) >= FEWEST_SECRET:
            text = text.replace(password, "***").replace(unquote(password), "***")
    return one_line(Exception(text)) if text.strip() else type(error).__name__


def require_own_store(output: Path) -> None:
    """Check that the store was not found inside a folder of results, which may come from others.

    MLflow takes a store in the current folder if none is named, and a store chooses where artifacts are
    written.

    Args:
        output: Folder of a study's results.

    Raises:
        UserError: No store is named, and the one that MLflow takes is inside `output`.
    """
    if mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
        return
    uri = tracking_uri()
    path = uri.removeprefix(SQLITE) if uri.startswith(SQLITE) else urlsplit(uri).path
    if Path(path).resolve().is_relative_to(output.resolve()):
        raise UserError(
            f"MLflow's store would be {path}, inside the folder of results, which may come from others; "
            "set MLFLOW_TRACKING_URI, or run with --no-track."
        )


def find_location_problem(location: str, store: str) -> str | None:
    """Return why artifacts may not be written to a location, if so.

    Args:
        location: Artifact URI of a run, as the store gives it.
        store: Tracking URI of the store.
    """
    scheme, own_scheme = urlsplit(location).scheme, urlsplit(store).scheme.partition("+")[0]
    is_direct = own_scheme in DIRECT_SCHEMES and store not in NAMED_STORES
    if is_direct and scheme in FILE_SCHEMES:
        return None
    if scheme not in REMOTE_SCHEMES:
        return (
            f"the store asks for artifacts at {location}, which is on this machine; start the server "
            "with --serve-artifacts, or give the experiment another artifact location"
        )
    if scheme in SERVED_SCHEMES:
        host, own_host = urlsplit(location).netloc, urlsplit(store).netloc
        if host.rpartition("@")[2] not in ("", own_host.rpartition("@")[2]):
            return (
                f"the store asks for artifacts at {location}, another server, which would receive your "
                "credentials; give the experiment another artifact location"
            )
    return None
