"""A registry of one image on loopback, for jobs that have images pulled: the least that an engine asks one for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.runner.isolation import image


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The name under which the engine pulls the tests' image, from now to the end of the block."""
    layout = folder / "image"
    done = image.ask("push", "--quiet", image.NAME, f"dir:{layout}")
    assert done.returncode == 0, done.stderr
    manifest = (layout / "manifest.json").read_bytes()
    kind = json.loads(manifest).get("mediaType", "application/vnd.oci.image.manifest.v1+json")

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            *_, what, name = self.path.split("/")
            file = layout / name.removeprefix("sha256:")
            if what == "manifests":
                self._send(manifest, kind)
            elif what == "blobs" and file.is_file():
                self._send(file.read_bytes(), "application/octet-stream")
            else:
                self._send(b"{}", "application/json")

        do_HEAD = do_GET  # noqa: N815 - as above

        def _send(self, content: bytes, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    place = f"127.0.0.1:{server.server_address[1]}"
    settings = folder / "registries.conf"
    settings.write_text(f'[[registry]]\nlocation = "{place}"\ninsecure = true\n')
    try:
        yield f"{place}/greet:1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        image.ask("image", "rm", "--force", f"{place}/greet:1")
