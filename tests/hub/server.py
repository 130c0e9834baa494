"""Answer requests as the Hugging Face Hub does: descriptions, listings, files with ranges; uploads are upload.py's."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub import upload
from tests.hub.hub import TOKEN, USER, Hub
from tests.hub.repository import Commit, Repository, is_large, oid, sha256

API = re.compile(
    r"^/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|preupload|commit)/([^/]+)(.*)|/(auth-check))?$"
)
FILE = re.compile(r"^/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")
STORED = re.compile(r"^/cdn/([0-9a-f]{64})/(.+)$")
BATCH = re.compile(r"^/([^/]+/[^/]+)\.git/info/lfs/objects/batch$")


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
        self._answer(self._body())

    def do_PUT(self) -> None:
        self._answer(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    @property
    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _answer(self, body: bytes = b"") -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.requests.append(f"{self.command} {path}")
        if match := STORED.match(path):
            self._stored(match[1], match[2], body)
        elif path in ("/api/whoami-v2", "/api/repos/create", "/api/validate-yaml") or BATCH.match(path):
            self._account(path, body)
        elif match := API.match(path):
            kind, name, what, revision, rest, check = match.groups()
            # a slash within a revision is quoted: what was one part of the path stays one
            revision = unquote(urlsplit(self.path).path.split("/")[6]) if what else "main"
            repository = self._repository(kind, name)
            if repository and check:
                if not self._gate(name):
                    self._json({})
            elif repository:
                self._describe(repository, name, what, revision, rest.lstrip("/") if rest else "", body, url.query)
        elif match := FILE.match(path):
            kind, name, revision, file = match.groups()
            if repository := self._repository(kind or "models", name):
                self._file(repository, name, revision, file)
        else:
            self._refuse(404, "RepoNotFound")

    def _repository(self, kind: str, name: str) -> Repository | None:
        """Find a repository, or answer as the hub does: it does not tell a stranger whether there is a private one."""
        found = self.hub.repositories.get((kind, name))
        if found is None or (name in self.hub.private and not self._known):
            self._refuse(404 if self._known else 401, "RepoNotFound", "Repository not found")
            return None
        return found

    def _gate(self, name: str) -> bool:
        """Refuse a repository that is gated, and say whether it is."""
        if name in self.hub.gated:
            self._refuse(403 if self._known else 401, "GatedRepo", f"Access to {name} is restricted.")
        return name in self.hub.gated

    def _account(self, path: str, body: bytes) -> None:
        """Answer what is asked of the user's account."""
        if path == "/api/validate-yaml":
            errors = upload.errors_of_card(json.loads(body)["content"])
            self._json({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif not self._known:
            self._refuse(401, "", "Invalid username or password.")
        elif path == "/api/whoami-v2":
            self._json({"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": {"role": "write"}}})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or USER}/{asked['name']}"
            if not name.startswith(f"{USER}/"):
                self._refuse(403, "", f'You don\'t have the rights to create a model under the namespace "{name}"')
            elif ("models", name) in self.hub.repositories:
                self._json({"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"}, 409)
            else:
                self.hub.repositories["models", name] = Repository({".gitattributes": b""})
                if asked.get("private") or asked.get("visibility") == "private":
                    self.hub.private.add(name)
                self._json({"url": f"{self.hub.url}/{name}", "name": name})
        else:
            self._json(upload.lfs_batch(self.hub, json.loads(body)))

    def _describe(
        self, repository: Repository, name: str, what: str | None, revision: str, rest: str, body: bytes, query: str
    ) -> None:
        commit = repository.at(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif what in ("preupload", "commit") and not self._known:
            self._refuse(401, "", "Invalid username or password.")
        elif what == "preupload":
            self._json(upload.preupload(commit, json.loads(body)))
        elif what == "commit":
            sha = upload.commit(self.hub, repository, revision, body)
            self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha, "success": True})
        elif what == "tree":
            every = parse_qs(query).get("recursive", ["false"])[0].lower() in ("true", "1")
            below = [p for p in [*commit.files, *commit.folders()] if not rest or p.startswith(f"{rest}/")]
            depth = rest.count("/") + 1 if rest else 0
            if rest and not below:
                self._refuse(404, "EntryNotFound")
            else:
                self._json([_entry(commit, p) for p in sorted(below) if every or p.count("/") == depth])
        elif what == "paths-info":
            wanted = parse_qs(body.decode()).get("paths", []) or json.loads(body or b"{}").get("paths", [])
            there = {*commit.files, *commit.folders()}
            self._json([_entry(commit, p) for p in wanted if p in there])
        else:
            self._json(
                {"id": name, "sha": commit.sha, "private": name in self.hub.private, "disabled": False, "tags": []}
                | {"gated": "manual" if name in self.hub.gated else False, "downloads": 0, "likes": 0}
                | {"siblings": [{"rfilename": path} for path in sorted(commit.files)]}
            )

    def _file(self, repository: Repository, name: str, revision: str, path: str) -> None:
        commit = repository.at(revision)
        if self._gate(name):
            return
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif path not in commit.files:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.sha})
        elif is_large(path):
            data = commit.files[path]
            self.hub.uploads[sha256(data)] = data
            headers = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
            headers |= {"X-Repo-Commit": commit.sha, "Location": f"{self.hub.storage}/{sha256(data)}/{path}"}
            self._send(302, b"", headers)
        else:
            data = commit.files[path]
            self._data(path, data, {"X-Repo-Commit": commit.sha, "ETag": f'"{oid(data)}"'})

    def _stored(self, digest: str, path: str, body: bytes) -> None:
        """Take or give a large file, by its hash."""
        if self.command == "PUT":
            if sha256(body) == digest:
                self.hub.uploads[digest] = body
            self._send(200 if sha256(body) == digest else 400, b"", {})
        elif path == "verify":
            self._send(200 if digest in self.hub.uploads else 404, b"", {})
        else:
            self._data(path, self.hub.uploads[digest], {"ETag": f'"{digest}"'})

    def _data(self, path: str, data: bytes, headers: dict[str, str]) -> None:
        headers = {**headers, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status = 200
        if wanted:
            start, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            status, data = 206, data[start : end + 1]
        fault = self.hub.fault(path) if self.command == "GET" else None
        self._send(
            status, data[: len(data) // 2] if fault == "short" else data, headers, path if fault == "cut" else ""
        )

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        said = {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message}
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {**said, **(headers or {}), "Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: str = "") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut:
            body = b"" if cut in self.hub.half_sent else body[: len(body) // 2]
            self.hub.half_sent.add(cut)
            self.close_connection = True
        self.wfile.write(body)


def _entry(commit: Commit, path: str) -> dict[str, Any]:
    if path not in commit.files:
        return {"type": "directory", "path": path, "size": 0, "oid": oid(path.encode())}
    data = commit.files[path]
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": oid(data)}
    if is_large(path):
        entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
    return entry
