"""Everything that `report/metrics.json` holds, measured or taken over from what is still valid.

docs/analyze.md documents the keys; their version is the key `version`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analyze.baselines import baselines
from analyze.convergence import converged, slope
from analyze.distributions import describe
from analyze.evaluate import Measured, evaluate
from analyze.fits import fit_laws
from analyze.held_out import HeldOut
from analyze.inputs import Inputs, position_policy
from analyze.latents import Latents, read_latents, write_latents
from analyze.pair_metrics import Comparisons
from analyze.quality import QUANTILES, quantile
from analyze.spectrum import covariance, privileged_basis, spectrum
from analyze.stitching import shrinkage
from analyze.store_sample import store_sample
from winnow.config import Experiment
from winnow.dictionary import Dictionary, load_dictionary
from winnow.errors import UserError
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
    held_out = HeldOut(config, tokens)
    measured = _evaluate(held_out, store, [loaded[path] for path in missing])
    for path, result in zip(missing, measured, strict=True):
        known[path] = _entry(path, loaded[path], result, held_out, store)
        quality = result.quality
        latents[path] = Latents(inputs.dictionaries[path], quality.firings, quality.squares)
    latents = {path: latents[path] for path in inputs.dictionaries}
    write_latents(run.report / "latents.h5", latents)
    entries = [known[path] for path in inputs.dictionaries]
    unchanged = set(_still_valid(before, inputs)) - set(missing)
    compared, followed = (_between(before, unchanged, *names) for names in (("pairs", "ceilings"), ("families",)))
    comparisons = Comparisons(held_out, store, loaded, latents, compared, followed)
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
        "evaluation": {"sequences": len(held_out.tokens), "rows": held_out.rows},
        "dictionaries": entries,
        "pairs": comparisons.sizes(entries),
        "ceilings": comparisons.seeds(entries),
        "families": comparisons.families(entries),
        "activations": _activations(store, inputs, before, config.seed),
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


def _between(before: dict[str, Any] | None, unchanged: set[str], *names: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Take over the earlier comparisons, under these keys, of dictionaries that did not change, by both paths."""
    compared = [entry for name in names for entry in before[name]] if before is not None and unchanged else []
    return {(p["from"], p["to"]): p for p in compared if p["from"] in unchanged and p["to"] in unchanged}


def _evaluate(held_out: HeldOut, store: ActivationStore, dictionaries: list[Dictionary]) -> list[Measured]:
    if not dictionaries:
        return []
    for dictionary in dictionaries:
        if dictionary.hook not in store.hooks:
            raise UserError(f"{dictionary.path}: its hook {dictionary.hook!r} is not among those harvested")
    model = held_out.model
    for dictionary in dictionaries:
        dictionary.to(model.device)
    hooks = {dictionary.hook for dictionary in dictionaries}
    centres = {hook: torch.from_numpy(store.statistics(hook).mean).float().to(model.device) for hook in hooks}
    with progress_bar("analyze", held_out.tokens.numel(), "tokens") as bar:
        measured = evaluate(
            model,
            held_out.tokens,
            held_out.kept,
            dictionaries,
            centres,
            lambda sequences: bar.advance(sequences * held_out.tokens.shape[1]),
        )
    for dictionary in dictionaries:
        dictionary.cpu()
    return measured


def _entry(
    path: str, dictionary: Dictionary, measured: Measured, held_out: HeldOut, store: ActivationStore
) -> dict[str, Any]:
    record, quality = dictionary.provenance, measured.quality
    curve, rows = _curve(dictionary), held_out.sample(dictionary.hook)
    steepness = slope(curve["rows"], curve["fvu"])
    gamma = shrinkage(dictionary, rows).numpy()
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
        "baselines": baselines(store_sample(store, dictionary.hook), rows, dictionary.n_latents, quality.l0)._asdict(),
        "shrinkage": {str(q): quantile(gamma, q) for q in QUANTILES},
        "convergence": {"slope": steepness, "converged": converged(steepness)},
        "curve": curve,
    }


def _curve(dictionary: Dictionary) -> dict[str, list[Any]]:
    """Read the training curve that stands beside the weights, one list per quantity."""
    names = ("rows", "loss", "fvu", "l0", "dead")
    assert dictionary.path is not None
    path = dictionary.path / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    points = [json.loads(line) for line in lines]
    return {name: [point.get(name) for point in points] for name in names}


def _activations(
    store: ActivationStore, inputs: Inputs, before: dict[str, Any] | None, seed: int
) -> list[dict[str, Any]]:
    if before is not None and before["inputs"]["harvest"] == inputs.harvest:
        return before["activations"]
    return [describe(hook, store.statistics(hook)) | _of_rows(store_sample(store, hook), seed) for hook in store.hooks]


def _of_rows(rows: Tensor, seed: int) -> dict[str, Any]:
    """Measure what statistics of single dimensions do not show, on a sample of harvested rows."""
    return {
        "fits": fit_laws(rows.double().numpy(), np.random.default_rng(seed)),
        "spectrum": spectrum(covariance(rows)),
        "privileged_basis": privileged_basis(rows, torch.Generator().manual_seed(seed)),
    }
