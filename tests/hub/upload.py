"""Receive an upload: what goes where, large files by their hash, and the commit that names them all."""

import base64
import json
from typing import Any

import yaml

from tests.hub.hub import Hub
from tests.hub.repository import Commit, Repository, is_large, oid, sha256


def preupload(commit: Commit, asked: dict[str, Any]) -> dict[str, Any]:
    """Say of each file whether it is large, and the hash of what is there by its name."""
    files = []
    for file in asked["files"]:
        path = file["path"]
        known = commit.files.get(path)
        there = None if known is None else sha256(known) if is_large(path) else oid(known)
        mode = "lfs" if is_large(path) else "regular"
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": there})
    return {"files": files}


def lfs_batch(hub: Hub, asked: dict[str, Any]) -> dict[str, Any]:
    """Say where to put each large file that is not here yet."""
    objects = []
    for wanted in asked["objects"]:
        digest = wanted["oid"]
        answer = {"oid": digest, "size": wanted["size"]}
        if digest not in hub.uploads:
            where = f"{hub.storage}/{digest}"
            answer["actions"] = {"upload": {"href": f"{where}/upload"}, "verify": {"href": f"{where}/verify"}}
        objects.append(answer)
    return {"transfer": "basic", "objects": objects}


def commit(hub: Hub, repository: Repository, branch: str, body: bytes) -> str:
    """Make the commit that lines of JSON describe; a large file must have been put before."""
    changes: dict[str, bytes | None] = {}
    for line in body.splitlines():
        item = json.loads(line)
        value = item["value"]
        match item["key"]:
            case "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                changes[value["path"]] = hub.uploads[value["oid"]]
            case "deletedFile":
                changes[value["path"]] = None
    return repository.commit(changes, branch)


def errors_of_card(content: str) -> list[dict[str, str]]:
    """Check the metadata of a README as far as this project writes them."""
    _, _, rest = content.partition("---\n")
    head, found, _ = rest.partition("\n---")
    if not content.startswith("---\n") or not found:
        return [{"message": "no metadata"}]
    try:
        metadata = yaml.safe_load(head)
    except yaml.YAMLError as error:
        return [{"message": str(error)}]
    wrong = [key for key in ("library_name", "license") if not isinstance(metadata.get(key, ""), str)]
    for key in ("tags", "base_model"):
        values = metadata.get(key, [])
        if not all(isinstance(value, str) for value in ([values] if isinstance(values, str) else values)):
            wrong.append(key)
    return [{"message": f'"{key}" must be of another type'} for key in wrong]
