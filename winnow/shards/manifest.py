"""Read and write `manifest.json`, which says what a folder of shards holds and what made it.

    manifest = read_manifest(Path("runs/demo/activations"))
    manifest.hooks                      # {"blocks.2.hook_resid_post": 128, …}
    manifest.written["tokenizer"]       # any key, as it stands in the file

Importing this module does not import torch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.config.dtypes import DTYPES
from winnow.errors import UserError
from winnow.fields import Fields, read_json
from winnow.runtime.publish import publish_text

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
DEVICES = "devices"
REMEDY = "restore it from a copy, or delete it and run make harvest with the settings that the shards were made with"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The fields of format 1, checked.

    A language model's activations have `model`, `tokens` and `positions`; toy data have `toy`; the others are None.
    """

    hooks: Mapping[str, int]  # name -> width, in the order of the shards
    context: int  # positions of a sequence
    storage_dtype: str  # one of DTYPES
    rows_per_shard: int  # at most
    shards: int  # of the finished harvest
    settings: Mapping[str, Any]  # the settings that the shards depend on
    model: Mapping[str, Any] | None  # name, revision, commit, dtype, and hashes; see `_check_model`
    tokens: Mapping[str, Any] | None  # fingerprint, sequences (harvested), bos (-1: none)
    positions: Mapping[str, Any] | None  # the fields of `PositionPolicy`
    tokenizer: str | None
    text: str | None  # as text.source has it
    text_commit: str  # of the data set on the hub; "" for other text, and in older files
    toy: Mapping[str, Any] | None  # the fields of `ToySettings`, directions_sha256
    devices: tuple[str, ...]  # kinds that computed the shards, as far as shards say; older files: none
    row_norms: bool  # whether shards hold the norms of their rows (winnow/shards/norms.py); older files: no
    written: Mapping[str, Any]  # the whole file, with the keys that this version does not know


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder of shards.

    Raises `UserError` naming the file, the field, what was expected, what was found and the remedy.
    """
    path = folder / MANIFEST
    try:
        written = read_json(path, REMEDY)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {folder} a folder of activations? run make harvest") from None
    return _check(path, written)


def write_manifest(
    folder: Path,
    *,
    made_from: Mapping[str, Any],
    hooks: Mapping[str, int],
    context: int,
    storage_dtype: str,
    rows_per_shard: int,
    shards: int,
    settings: Mapping[str, Any],
    devices: Sequence[str] = (),
) -> Manifest:
    """Publish the manifest of a harvest in `folder`, checked as `read_manifest` checks it.

    made_from: the fields that say what the rows were made from (model, tokens, …; or toy). devices: the kinds that
    compute them; `name_devices` changes them.
    """
    written = {
        "format_version": FORMAT_VERSION,
        **made_from,
        "hooks": dict(hooks),
        "context": context,
        "storage_dtype": storage_dtype,
        "rows_per_shard": rows_per_shard,
        "shards": shards,
        "settings": dict(settings),
        "row_norms": True,
        **({DEVICES: list(devices)} if devices else {}),
    }
    path = folder / MANIFEST
    manifest = _check(path, written)
    publish_text(path, json.dumps(written, indent=1) + "\n")
    return manifest


def name_devices(folder: Path, devices: Sequence[str]) -> None:
    """Change the kinds of device that a manifest names. Its fingerprint stays; the hash of its file does not."""
    written = read_manifest(folder).written
    publish_text(folder / MANIFEST, json.dumps({**written, DEVICES: list(devices)}, indent=1) + "\n")


def mixture(devices: Sequence[str]) -> str:
    """Say in one line that shards were computed by several kinds of device; "" where they were not."""
    if len(devices) < 2:
        return ""
    return f"computed on several kinds of device ({', '.join(devices)}), between which rows differ by rounding"


def _check(path: Path, written: Any) -> Manifest:
    fields = Fields(path, written, remedy=REMEDY)
    version = fields.integer("format_version", 0)
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: format_version: expected {FORMAT_VERSION}, found {version}; "
            "use the winnow that wrote it, or harvest into a new run"
        )
    hooks = fields.object("hooks")
    if not hooks.all:
        raise UserError(f"{path}: hooks: expected at least one, found none; {REMEDY}")
    for hook in hooks.all:
        if "/" in hook or hook in ("", ".", ".."):  # a hook names a folder of dictionaries
            raise UserError(f"{path}: hooks: expected names of hooks, found {hook!r}; {REMEDY}")
    from_toy, from_model = "toy" in fields.all, "model" in fields.all
    if from_toy == from_model:
        found = "both" if from_toy else "neither"
        raise UserError(f"{path}: model, toy: expected one of the two fields, found {found}; {REMEDY}")
    return Manifest(
        hooks={hook: hooks.integer(hook, 1) for hook in hooks.all},
        context=fields.integer("context", 1),
        storage_dtype=fields.one_of("storage_dtype", DTYPES),
        rows_per_shard=fields.integer("rows_per_shard", 1),
        shards=fields.integer("shards", 1),
        settings=fields.object("settings").all,
        model=_check_model(fields.object("model")) if from_model else None,
        tokens=_check_tokens(fields.object("tokens")) if from_model else None,
        positions=fields.object("positions").all if from_model else None,
        tokenizer=fields.text("tokenizer") if from_model else None,
        text=fields.text("text") if from_model else None,
        text_commit=fields.text("text_commit") if "text_commit" in fields.all else "",
        toy=_check_toy(fields.object("toy")) if from_toy else None,
        devices=tuple(fields.texts(DEVICES)) if DEVICES in fields.all else (),
        row_norms=fields.flag("row_norms") if "row_norms" in fields.all else False,
        written=fields.all,
    )


def _check_model(model: Fields) -> dict[str, Any]:
    """Check what is said of the model.

    weights_sha256: of the weights in dtype. config_sha256: of config.json. files_sha256: of a local model's files.
    Older files have neither of the last two, and may lack the commit.
    """
    for name in ("name", "revision", "weights_sha256"):
        model.text(name)
    model.one_of("dtype", DTYPES)
    if "commit" in model.all:
        model.text("commit")
    for name in ("config_sha256", "files_sha256"):
        if name in model.all:
            model.digest(name)
    return model.all


def _check_tokens(tokens: Fields) -> dict[str, Any]:
    tokens.text("fingerprint")
    tokens.integer("sequences", 1)
    tokens.integer("bos", -1)
    return tokens.all


def _check_toy(toy: Fields) -> dict[str, Any]:
    toy.text("directions_sha256")
    return toy.all
