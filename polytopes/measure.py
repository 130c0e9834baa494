"""Open the model, choose the rows, and make the experiments that are due, one file each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from polytopes.experiments.table import EXPERIMENTS
from polytopes.keys import CLUSTERS, ROWS, Keys
from polytopes.reading.places import choose_places, held_out_first
from polytopes.reading.rows import Rows, read_rows, write_rows
from polytopes.reading.subject import Subject, usual_hooks
from polytopes.reading.values import read_tokens, read_with_predictions
from winnow.config.experiment import Experiment
from winnow.config.polytopes import PolytopesSettings
from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, open_model
from winnow.model.mlp import read_mlp
from winnow.polytope_files import ROWS_FILE
from winnow.runtime.hashes import Noted, change_hashes, note
from winnow.runtime.progress import progress_bar
from winnow.runtime.record import read_record, write_record
from winnow.shards.manifest import Manifest
from winnow.spline.codes import pack
from winnow.tokens import TokenFile


def measure(config: Experiment, keys: Keys, tokens: TokenFile, manifest: Manifest) -> list[str]:
    """Make what is due, and list it. Raises `UserError` where the model's weights are not those of the harvest."""
    names = [name for name in EXPERIMENTS if name in keys.settings.experiments]
    with progress_bar("polytopes", 1 + len(names), "experiments") as bar:
        bar.advance(0, ROWS)
        made = [ROWS] if keys.is_due(ROWS) else []
        subject = open_subject(config, keys, tokens, manifest)
        bar.advance(1)
        for name in names:
            if keys.is_due(name):
                bar.advance(0, name)
                results = EXPERIMENTS[name].measure(subject, keys.settings)
                if name == CLUSTERS:
                    results["files"] = _add_clusters(keys, subject, results.pop("clusterings"))
                _publish(keys, name, results)
                made.append(name)
            bar.advance(1)
    return made


def open_subject(config: Experiment, keys: Keys, tokens: TokenFile, manifest: Manifest) -> Subject:
    """Open the model, and read its rows, or make them where they are not there. Raises `UserError` as `measure`."""
    assert manifest.model is not None
    settings = keys.settings
    model = open_model(config.model, begun_with=manifest.model)
    model.refuse_other_weights(keys.run.activations, manifest.model)
    layers = _layers(settings, model)
    for layer in layers:
        read_mlp(model, layer)  # refuses a gate without codes, before any work
    keys.run.polytopes.mkdir(parents=True, exist_ok=True)
    if keys.is_due(ROWS):
        rows, values = _make_rows(keys, model, tokens, layers)
    else:
        rows, values = read_rows(keys.run.polytopes / ROWS_FILE), {}
    return Subject(
        model=model,
        layers=layers,
        tokens=tokens,
        first_held_out=keys.inputs["harvested_sequences"],
        rows=rows,
        positions=settings.positions,
        run=keys.run,
        seed=keys.seed,
        experiments=settings.experiments,
        untrained=settings.untrained,
        _values=values,
    )


def _layers(settings: PolytopesSettings, model: LanguageModel) -> tuple[int, ...]:
    there = sum(name.endswith(".hook_resid_post") for name in model.hooks)
    if settings.layers == "all":
        return tuple(range(there))
    for layer in settings.layers:
        if layer >= there:
            raise UserError(f"polytopes.layers: {layer}: the model has layers 0 to {there - 1}")
    return tuple(sorted(settings.layers))


def _make_rows(
    keys: Keys, model: LanguageModel, tokens: TokenFile, layers: tuple[int, ...]
) -> tuple[Rows, dict[str, torch.Tensor]]:
    """Choose the rows, read their labels and codes, and publish them; also give the values that were read."""
    settings, first = keys.settings, keys.inputs["harvested_sequences"]
    order = held_out_first(tokens.sequences, first)
    places = choose_places(tokens, order, settings.positions, settings.rows, keys.seed, "polytopes.rows")
    prediction, values = read_with_predictions(model, tokens, places, usual_hooks(model, layers))
    text = read_tokens(tokens, places.sequence.unique().numpy())
    inside = torch.searchsorted(places.sequence.unique(), places.sequence)
    after = torch.cat([text, torch.full_like(text[:, :1], -1)], 1)
    position = places.position.long()
    mlps = [read_mlp(model, layer) for layer in layers]
    codes = [pack(mlp.pre(values[f"blocks.{layer}.mlp.hook_in"]) > 0) for layer, mlp in zip(layers, mlps, strict=True)]
    rows = Rows(
        places=places,
        token=text[inside, position].int(),
        next=after[inside, position + 1].int(),
        prediction=prediction,
        codes=torch.stack(codes, 1),
        layers=layers,
        neurons=mlps[0].n,
    )
    held_out = int((places.sequence >= first).sum())
    _publish_rows(keys, rows, _description(rows, held_out, mlps))
    return rows, values


def _add_clusters(keys: Keys, subject: Subject, clusterings: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Publish the rows again, now with their clusters, and give the hash of their file.

    A run that dies in between makes the rows and the clusters again: `rows.json` and `clusters.json` say which file of
    rows they belong to.
    """
    clusters = {name: torch.from_numpy(of_row).int() for name, of_row in clusterings.items()}
    results = read_record(keys.path(ROWS)).results
    return _publish_rows(keys, replace(subject.rows, clusters=clusters), results)


def _publish_rows(keys: Keys, rows: Rows, results: dict[str, Any]) -> dict[str, str]:
    """Write `rows.h5`, and the record that says what it is; give the file's hash by its name."""
    path = keys.run.polytopes / ROWS_FILE
    listed = f"{path.parent.name}/{ROWS_FILE}"
    change_hashes(keys.run.path, forget=[listed])
    write_rows(path, rows)
    written = note(path)
    files = {ROWS_FILE: written.sha256}
    _publish(keys, ROWS, results | {"files": files}, {listed: written})
    return files


def _publish(keys: Keys, name: str, results: dict[str, Any], besides: Mapping[str, Noted] | None = None) -> None:
    """Write a record, and list it in the run's hashes; `besides`: what is to be listed with it."""
    path, run = keys.path(name), keys.run.path
    listed = f"{path.parent.name}/{path.name}"
    change_hashes(run, forget=[listed])
    write_record(path, keys.key(name), results)
    change_hashes(run, {listed: note(path), **(besides or {})})


def _description(rows: Rows, held_out: int, mlps: list[Any]) -> dict[str, Any]:
    """Describe the rows and the layers that they were read at.

    rows, held_out_rows: counts; layers: their numbers; neurons: of each; d_model; gate: by name; gated: whether it is
    multiplied by another linear map; affine_maps: whether maps are affine given the code; norm: layer, rms or null.
    """
    mlp = mlps[0]
    return {
        "rows": len(rows),
        "held_out_rows": held_out,
        "layers": rows.layers,
        "neurons": rows.neurons,
        "d_model": mlp.d_in,
        "gate": mlp.gate.name,
        "gated": mlp.is_gated,
        "affine_maps": mlp.has_affine_maps,
        "norm": None if mlp.norm is None else mlp.norm.kind,
    }
