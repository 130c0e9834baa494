"""A hub on this machine: enough of the Hugging Face Hub's HTTP protocol to serve folders by name.

    with serve(root) as hub:                  # root/models/OWNER/NAME/…, root/datasets/OWNER/NAME/…
        subprocess.run(…, env={**os.environ, **hub.environment})

The revision is always main, whose commit is made up of the files' contents. Files are served with ranges, as parquet
readers ask for them. `hub.requests` lists what was asked for; `hub.broken` names files whose download breaks off.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

API = re.compile(r"^/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?$")
FILE = re.compile(r"^/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")


class Hub:
    """What is served, and what has been asked for."""

    def __init__(self, root: Path, url: str, cache: Path) -> None:
        self.root = root
        self.url = url
        self.environment = {
            "HF_ENDPOINT": url,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        self.requests: list[str] = []
        self.broken: set[str] = set()
        self.gated: set[str] = set()

    def folder(self, kind: str, name: str) -> Path:
        return self.root / kind / name

    def commit(self, folder: Path) -> str:
        digest = hashlib.sha1()
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()


@contextmanager
def serve(root: Path, cache: Path) -> Iterator[Hub]:
    """Serve the folders below `root` on loopback until the block ends; clients keep their downloads in `cache`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = Hub(root, f"http://127.0.0.1:{server.server_address[1]}", cache)
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes = b"") -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.requests.append(f"{self.command} {path}")
        if match := API.match(path):
            kind, name, what, _, rest = match.groups()
            every = parse_qs(url.query).get("recursive", ["false"])[0].lower() in ("true", "1")
            self._describe(self.hub.folder(kind, name), name, what, rest or "", body, every)
        elif match := FILE.match(path):
            kind, name, _, file = match.groups()
            self._file(self.hub.folder(kind or "models", name), name, file)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _describe(self, folder: Path, name: str, what: str | None, rest: str, body: bytes, every: bool) -> None:
        if not folder.is_dir():
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if what == "tree":
            below = folder / rest
            if below.is_dir():
                self._json([_entry(folder, p) for p in sorted(below.rglob("*") if every else below.iterdir())])
            else:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif what == "paths-info":
            wanted = parse_qs(body.decode()).get("paths", []) or json.loads(body or b"{}").get("paths", [])
            self._json([_entry(folder, folder / p) for p in wanted if (folder / p).exists()])
        else:
            siblings = [{"rfilename": str(p.relative_to(folder))} for p in files]
            self._json(
                {"id": name, "sha": self.hub.commit(folder), "private": False, "gated": False, "disabled": False}
                | {"tags": [], "downloads": 0, "likes": 0, "siblings": siblings}
            )

    def _file(self, folder: Path, name: str, file: str) -> None:
        path = folder / file
        if name in self.hub.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to {name} is restricted."})
        elif not folder.is_dir():
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.hub.commit(folder)})
        else:
            data = path.read_bytes()
            headers = {
                "X-Repo-Commit": self.hub.commit(folder),
                "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                "Accept-Ranges": "bytes",
                "Content-Type": "application/octet-stream",
            }
            wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if wanted:
                start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
                headers["Content-Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
                self._send(206, data[start : end + 1], headers, file in self.hub.broken)
            else:
                self._send(200, data, headers, file in self.hub.broken)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], breaks: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if breaks else body)
            self.close_connection = breaks


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    name = str(path.relative_to(folder))
    data = b"" if path.is_dir() else path.read_bytes()
    oid = hashlib.sha1(name.encode() + data).hexdigest()
    return {"type": "directory" if path.is_dir() else "file", "path": name, "size": len(data), "oid": oid}
