import fake_tracking
import mlflow
import pytest

from mixopt.callbacks.mlflow.artifact_upload import ArtifactUploader, LocationError


@pytest.fixture
def uploader(store):
    with fake_tracking.serve() as server:
        yield server, ArtifactUploader(mlflow.MlflowClient(server.uri))


def test_a_server_cannot_have_files_of_this_machine_written(uploader, tmp_path):
    server, uploads = uploader
    victim = tmp_path / "home"
    server.answers["runs/get"] = fake_tracking.run_at(victim.as_uri())
    with pytest.raises(LocationError, match="which is on this machine"):
        uploads.upload_text(fake_tracking.RUN, "code", "startup.sh")
    assert not victim.exists()


def test_the_location_is_asked_for_once(uploader, tmp_path):
    """A second answer is never used, so it cannot differ from the one that was checked."""
    server, uploads = uploader
    server.answers["runs/get"] = fake_tracking.run_at("mlflow-artifacts:/1/artifacts")
    uploads.upload_text(fake_tracking.RUN, "a", "a.txt")
    server.answers["runs/get"] = fake_tracking.run_at((tmp_path / "home").as_uri())
    uploads.upload_text(fake_tracking.RUN, "b", "sub/b.txt")
    sent = [path for path, _ in server.requests if "mlflow-artifacts" in path]
    assert [path.rpartition("artifacts/")[2] for path in sent] == ["a.txt", "sub/b.txt"]
    assert not (tmp_path / "home").exists()


def test_another_server_gets_no_token(uploader, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "my-token")
    server, uploads = uploader
    with fake_tracking.serve() as stranger:
        server.answers["runs/get"] = fake_tracking.run_at(f"{stranger.uri}/artifacts")
        with pytest.raises(LocationError, match="another server"):
            uploads.upload_text(fake_tracking.RUN, "a", "a.txt")
        assert stranger.requests == []
    assert server.requests[0][1]["Authorization"] == "Bearer my-token"
