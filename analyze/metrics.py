"""Everything that `report/metrics.json` holds, measured or taken over from what is still valid.

docs/analyze.md documents the keys; their version is the key `version`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from analyze.distributions import describe
from analyze.evaluate import Measured, evaluate
from analyze.inputs import Inputs, position_policy
from analyze.latents import Latents, read_latents, write_latents
from analyze.pairs import Features, compare, neighbouring_sizes
from winnow.config import Experiment
from winnow.dictionary import Dictionary, load_dictionary
from winnow.errors import UserError, refuse_changed
from winnow.progress import progress_bar
from winnow.run import Run
from winnow.store import ActivationStore
from winnow.tokens import TokenFile

VERSION = 1


def measure(config: Experiment, tokens: TokenFile, inputs: Inputs, before: dict[str, Any] | None) -> dict[str, Any]:
    """Measure what `before`, an earlier result, does not hold already, and gather all of it."""
    run = Run(Path(config.run))
    store = ActivationStore(run.activations)
    known = _still_valid(before, inputs)
    latents = read_latents(run.report / "latents.h5")
    missing = [
        path
        for path, digest in inputs.dictionaries.items()
        if path not in known or path not in latents or latents[path].input != digest
    ]
    loaded = {path: load_dictionary(run.path / path) for path in inputs.dictionaries}
    evaluation, measured = (before or {}).get("evaluation"), []
    if missing:
        evaluation, measured = _evaluate(config, tokens, store, [loaded[path] for path in missing])
    for path, result in zip(missing, measured, strict=True):
        known[path] = _entry(path, loaded[path], result)
        quality = result.quality
        latents[path] = Latents(inputs.dictionaries[path], quality.firings, quality.squares)
    latents = {path: latents[path] for path in inputs.dictionaries}
    write_latents(run.report / "latents.h5", latents)
    entries = [known[path] for path in inputs.dictionaries]
    return {
        "version": VERSION,
        "run": {
            "path": str(run.path),
            "model": config.model.name,
            "text": config.text.source,
            "context": tokens.context,
            "tokens": tokens.sequences * tokens.context,
            "rows": store.rows,
            "positions": positions_in_words(config),
        },
        "evaluation": evaluation,
        "dictionaries": entries,
        "pairs": _pairs(entries, loaded, latents, inputs, before),
        "activations": _activations(store, inputs, before),
        "inputs": inputs._asdict(),
    }


def positions_in_words(config: Experiment) -> str:
    """Say which positions of a sequence are harvested: `all but the first 1`."""
    policy = position_policy(config)
    parts = [f"all but the first {policy.skip_first}" if policy.skip_first else "all"]
    if policy.evenly:
        parts.append(f"of those {policy.evenly}, evenly spread")
    if policy.random:
        parts.append(f"of those {policy.random} at random")
    if policy.drop_tokens:
        parts.append(f"without the tokens {', '.join(map(str, policy.drop_tokens))}")
    return ", ".join(parts)


def _still_valid(before: dict[str, Any] | None, inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Take over the earlier entries of dictionaries that did not change, if the evaluation did not."""
    if before is None or before["inputs"]["evaluation"] != inputs.evaluation:
        return {}
    same = before["inputs"]["dictionaries"]
    return {e["path"]: e for e in before["dictionaries"] if inputs.dictionaries.get(e["path"]) == same[e["path"]]}


def _evaluate(
    config: Experiment, tokens: TokenFile, store: ActivationStore, dictionaries: list[Dictionary]
) -> tuple[dict[str, int], list[Measured]]:
    from harvest.model import open_model
    from harvest.positions import kept_positions

    first = tokens.sequences - config.analyze.evaluation_sequences
    held_out = tokens.read(first, tokens.sequences)
    kept = kept_positions(position_policy(config), held_out, first, config.seed)
    for dictionary in dictionaries:
        if dictionary.hook not in store.hooks:
            raise UserError(f"{dictionary.path}: its hook {dictionary.hook!r} is not among those harvested")
    model = open_model(config.model)
    weights = {"weights_sha256 of the model": model.weight_hash}
    refuse_changed(store.path, {"weights_sha256 of the model": store.manifest["model"]["weights_sha256"]}, weights)
    for dictionary in dictionaries:
        dictionary.to(model.device)
    centres = {d.hook: torch.from_numpy(store.statistics(d.hook).mean).float() for d in dictionaries}
    with progress_bar("analyze", held_out.size, "tokens") as bar:
        measured = evaluate(
            model,
            torch.from_numpy(held_out),
            torch.from_numpy(kept),
            dictionaries,
            {hook: centre.to(model.device) for hook, centre in centres.items()},
            lambda sequences: bar.advance(sequences * tokens.context),
        )
    return {"sequences": len(held_out), "rows": int(kept.sum())}, measured


def _entry(path: str, dictionary: Dictionary, measured: Measured) -> dict[str, Any]:
    record, quality = dictionary.provenance, measured.quality
    settings: Mapping[str, Any] = record.get("settings", {})
    return {
        "path": path,
        "hook": dictionary.hook,
        "architecture": settings.get("architecture", dictionary.architecture),
        "n_latents": dictionary.n_latents,
        "d_model": dictionary.d_model,
        "seed": settings.get("seed"),
        "sparsity": {name: settings[name] for name in ("k", "l1_coefficient") if settings.get(name) is not None},
        "rows": record.get("rows"),
        "l0": quality.l0,
        "l0_quantiles": quality.l0_quantiles,
        "fvu": quality.fvu,
        "fvu_uncentred": quality.fvu_uncentred,
        "fvu_rowwise": quality.fvu_rowwise,
        "alive_fraction": quality.alive_fraction,
        "dead_fraction": quality.dead_fraction,
        "density": quality.density(),
        "ce": measured.loss,
        "curve": _curve(dictionary),
    }


def _curve(dictionary: Dictionary) -> dict[str, list[Any]]:
    """Read the training curve that stands beside the weights, one list per quantity."""
    names = ("rows", "loss", "fvu", "l0", "dead")
    assert dictionary.path is not None
    path = dictionary.path / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    points = [json.loads(line) for line in lines]
    return {name: [point.get(name) for point in points] for name in names}


def _pairs(
    entries: list[dict[str, Any]],
    loaded: Mapping[str, Dictionary],
    latents: Mapping[str, Latents],
    inputs: Inputs,
    before: dict[str, Any] | None,
) -> list[dict[str, Any]]:
    valid = _still_valid(before, inputs)
    known = {
        (p["from"], p["to"]): p for p in (before or {}).get("pairs", []) if p["from"] in valid and p["to"] in valid
    }
    pairs = []
    for small, large in neighbouring_sizes(entries):
        a, b = small["path"], large["path"]
        if (a, b) not in known or (b, a) not in known:
            features = [Features.of(loaded[path], latents[path].alive) for path in (a, b)]
            forth, back = compare(*features)
            known[a, b], known[b, a] = {"from": a, "to": b, **forth}, {"from": b, "to": a, **back}
        pairs += [known[a, b], known[b, a]]
    return pairs


def _activations(store: ActivationStore, inputs: Inputs, before: dict[str, Any] | None) -> list[dict[str, Any]]:
    if before is not None and before["inputs"]["harvest"] == inputs.harvest:
        return before["activations"]
    return [describe(hook, store.statistics(hook)) for hook in store.hooks]
