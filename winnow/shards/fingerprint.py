"""What later stages ask of a store's manifest; read without torch.

Manifests of older versions stay usable. A setting that they name otherwise is in `LEGACY_NAMES`. The fingerprint hashes
named fields, under the names of commit e1e5eee, so a field that is added to manifests later does not change it.

It says what the activations are, not how their model and text were named: where these lie does not enter it. The
fingerprint of a manifest that does not know the model's configuration has the names in it, as it was then.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from winnow.config.toy import LEGACY_VALUES as TOY_LEGACY_VALUES

LEGACY_NAMES = {  # of settings: what older manifests say -> the name today
    "harvested sequences (those of text.tokens less analyze.evaluation_sequences)": "harvested_sequences",
}

_WHOLE = None  # the value is hashed as it stands
_POSITIONS: dict[str, Any] = dict.fromkeys(("skip_first", "evenly", "random", "drop_tokens"))
_TOY: dict[str, Any] = dict.fromkeys(
    (
        *("rows", "d_model", "n_features", "active", "directions", "antipodal_share"),
        *("decay", "decay_form", "common", "causes", "magnitude", "seed"),
        *TOY_LEGACY_VALUES,  # a store names them only where they have other values
    )
)
# What says which activations these are. A field that a manifest lacks is left out of the hash. Whoever adds a field on
# which activations depend names it here, and leaves it out of the hash where it has the value of older manifests.
FINGERPRINTED: dict[str, Any] = {
    "format_version": _WHOLE,
    "model": dict.fromkeys(("name", "revision", "commit", "dtype", "weights_sha256")),
    "tokenizer": _WHOLE,
    "text": _WHOLE,
    "text_commit": _WHOLE,
    "tokens": dict.fromkeys(("fingerprint", "sequences", "bos")),
    "positions": _POSITIONS,
    "toy": {**_TOY, "directions_sha256": _WHOLE},
    "hooks": _WHOLE,
    "context": _WHOLE,
    "storage_dtype": _WHOLE,
    "rows_per_shard": _WHOLE,
    "shards": _WHOLE,
    "settings": {
        **dict.fromkeys(("model.name", "model.revision", "model.dtype", "seed", "tokens.fingerprint")),
        **dict.fromkeys(LEGACY_NAMES),
        **dict.fromkeys(f"harvest.{name}" for name in ("hooks", "storage_dtype", "sequences_per_batch", "compile")),
        "harvest.rows_per_shard": _WHOLE,
        "harvest.positions": _POSITIONS,
        **{f"toy.{name}": _WHOLE for name in _TOY},
    },
}

_NAMES = ("name", "revision", "commit", "model.name", "model.revision")  # of a model, and in settings
CONTENT = {name: fields for name, fields in FINGERPRINTED.items() if name not in ("tokenizer", "text", "text_commit")}
for _table in ("model", "settings"):
    CONTENT[_table] = {name: inner for name, inner in FINGERPRINTED[_table].items() if name not in _NAMES}
CONTENT["model"]["config_sha256"] = _WHOLE


def made_with(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings that a store was made with, by their names today, with those that it leaves out."""
    settings: dict[str, Any] = manifest["settings"]
    return with_left_out({LEGACY_NAMES.get(name, name): value for name, value in settings.items()})


def with_left_out(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add the settings of toy data that a store leaves out where they have the values of older stores."""
    if "toy.rows" not in settings:
        return dict(settings)
    return {**{f"toy.{name}": value for name, value in TOY_LEGACY_VALUES.items()}, **settings}


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Hash what the activations are, as their manifest says: 16 hexadecimal digits."""
    return _hash(manifest, CONTENT if "config_sha256" in (manifest.get("model") or {}) else FINGERPRINTED)


def fingerprints(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """List the fingerprint, and the one that an older version gave the same activations."""
    return tuple(dict.fromkeys((fingerprint(manifest), _hash(manifest, FINGERPRINTED))))


def _hash(manifest: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    legacy = {today: old for old, today in LEGACY_NAMES.items()}
    settings = {legacy.get(name, name): value for name, value in manifest.get("settings", {}).items()}
    named = _named({**manifest, "settings": settings} if "settings" in manifest else manifest, fields)
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]


def _named(value: Any, fields: Mapping[str, Any] | None) -> Any:
    """Keep the named fields of a dictionary, and of those in it."""
    if fields is None or not isinstance(value, Mapping):
        return value
    return {name: _named(value[name], inner) for name, inner in fields.items() if name in value}
