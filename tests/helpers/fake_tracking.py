"""A tracking server that gives prepared answers and keeps what it was sent."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RUN = "0" * 32


class FakeServer:
    """Attributes: `uri`; `requests`: path and headers of each; `answers`: status and body by ending."""

    def __init__(self, port):
        self.uri = f"http://127.0.0.1:{port}"
        self.requests = []
        self.answers = {}

    def answer(self, path):
        for ending, answer in self.answers.items():
            if path.endswith(ending):
                return answer
        return 200, {}


def run_at(artifact_uri):
    """The answer of a server about a run whose artifacts are at `artifact_uri`."""
    info = {"run_id": RUN, "run_uuid": RUN, "experiment_id": "1", "status": "RUNNING",
            "artifact_uri": artifact_uri, "lifecycle_stage": "active"}  # fmt: skip
    return 200, {"run": {"info": info, "data": {}}}


@contextmanager
def serve():
    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            path = self.path.partition("?")[0]
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.requests.append((path, dict(self.headers)))
            status, body = fake.answer(path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
