"""The record of how a dictionary was made, for its training.json and cfg.json."""

import platform
from datetime import UTC, datetime
from importlib.metadata import distributions
from typing import Any

import torch

from train.learner import Learner
from winnow.massive.kept import KeptRows
from winnow.store import ActivationStore


def provenance(kept: KeptRows, learner: Learner, scale: float, device: torch.device) -> dict[str, Any]:
    """Compose the content of training.json."""
    store = kept.store
    return {
        "settings": learner.planned.settings.to_json(),
        "hook": learner.planned.hook,
        "rows": learner.rows,
        "convergence": learner.convergence.record(),
        "folded_scale": scale,
        "left_out": left_out(kept),
        "activations": {"rows": store.rows, **store.manifest},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": str(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "winnow": next((found.version for found in distributions(name="winnow")), None),  # None: not installed
        },
    }


def left_out(kept: KeptRows) -> dict[str, Any] | None:
    """Describe the massive rows that a dictionary was not trained on (`winnow.massive.Massive`); None: none."""
    return None if kept.left_out is None else kept.left_out.to_json()


def metadata(store: ActivationStore, kept: KeptRows | None = None) -> dict[str, Any]:
    """Compose the fields of cfg.json on the model and its text, which SAELens reads when it evaluates a dictionary.

    What was left out of the training stands there too, in a section of winnow's own.
    """
    manifest = store.manifest
    massive = None if kept is None else left_out(kept)
    model, tokens = manifest.get("model") or {}, manifest.get("tokens") or {}
    positions, text = manifest.get("positions") or {}, manifest.get("text") or ""
    usual = {"revision": "main", "dtype": "float32"}  # SAELens' defaults, left out
    return {
        "model_name": model.get("name"),
        "model_from_pretrained_kwargs": {key: model[key] for key in usual if model.get(key, usual[key]) != usual[key]},
        "context_size": store.context,
        "prepend_bos": tokens.get("bos", -1) >= 0,  # -1: sequences do not start with a BOS token
        "seqpos_slice": [positions.get("skip_first") or None, None],  # the positions that rows may come from
        "exclude_special_tokens": positions.get("drop_tokens") or False,
        **({"dataset_path": text.removeprefix("hub:")} if text.startswith("hub:") else {}),
        **({"winnow": {"left_out": massive}} if massive else {}),
    }
