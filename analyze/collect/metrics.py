"""Everything that `report/metrics.json` holds, measured or taken over from what is still valid.

docs/guide/analyze.md documents the keys; their version is the key `version`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from analyze.activations.distributions import describe
from analyze.activations.laws import fit_laws
from analyze.activations.massive import largest_dimension, massive_rows
from analyze.activations.spectrum import covariance, privileged_basis, spectrum
from analyze.activations.toy_assumptions import assumptions
from analyze.collect.comparisons import Comparisons
from analyze.collect.controls import for_nothing
from analyze.collect.dictionaries import Entries
from analyze.compare.lineages import follow
from analyze.device import comparing_device
from analyze.dictionary.opened import OpenedDictionaries
from analyze.dictionary.snapshots import Stages
from analyze.evaluation.evaluate import Evaluation
from analyze.evaluation.latents import Latents, read_latents, write_latents
from analyze.evaluation.open import open_evaluation
from analyze.evaluation.overlap import shared_ngrams
from analyze.evaluation.rows import EvaluationRows
from analyze.evaluation.sample import store_sample
from analyze.evaluation.toy import ToyHeldOut
from analyze.groups.grid import grids
from analyze.groups.seeds import differences, groups
from analyze.groups.stopping import stopping
from analyze.inputs import Inputs
from analyze.ladders import trained
from analyze.schema.activations import Activations
from analyze.schema.comparisons import Family, ForNothing, Pair
from analyze.schema.dictionaries import Dictionary as Entry
from analyze.schema.metrics import shown
from analyze.schema.record import keys_of, read_record
from analyze.schema.report import VERSION, InputHashes, Metrics, RunInfo
from analyze.truth.known_truth import KnownTruth
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary
from winnow.errors import UserError
from winnow.positions import position_policy
from winnow.runtime.announce import announce
from winnow.runtime.device import choose_device
from winnow.runtime.run import Run
from winnow.runtime.to_json import to_json
from winnow.store import ActivationStore
from winnow.tokens import TokenFile

Ends = tuple[str, str]
P = TypeVar("P", Pair, Family, ForNothing)


def measure(config: Experiment, tokens: TokenFile | None, inputs: Inputs, before: Metrics | None) -> Metrics:
    """Measure what `before`, an earlier result, does not hold already, and gather all of it by the schema."""
    run = Run(Path(config.run))
    announce("analyze", choose_device(config.model.device), {"model.dtype": config.model.dtype} if tokens else {})
    store = ActivationStore(run.activations)
    store.check()
    known = _still_valid(before, inputs)
    latents = read_latents(run.report / "latents.h5")
    missing = [
        path
        for path, digest in inputs.dictionaries.items()
        if path not in known or path not in latents or latents[path].input != digest
    ]
    loaded = OpenedDictionaries({path: run.path / path for path in inputs.dictionaries})
    held_out = open_evaluation(config, tokens)
    stages = Stages(held_out.sample, comparing_device(config.model.device))
    truth = KnownTruth(held_out, stages) if isinstance(held_out, ToyHeldOut) else None
    measured = _evaluate(held_out, store, [loaded[path] for path in missing])
    describing = Entries(held_out, truth)
    for path, result in zip(missing, measured, strict=True):
        # rounded as the file is, here and below: what follows from it does not depend on when it was measured
        known[path] = read_record(Entry, to_json(describing.of(path, loaded[path], result)), path)
        quality = result.quality
        latents[path] = Latents(inputs.dictionaries[path], quality.firings, quality.squares, quality.rows)
    latents = {path: latents[path] for path in inputs.dictionaries}
    write_latents(run.report / "latents.h5", latents)
    entries = [known[path] for path in inputs.dictionaries]
    unchanged = set(_still_valid(before, inputs)) - set(missing)
    compared = _between([*(before.pairs or []), *(before.ceilings or [])] if before else [], unchanged)
    followed = _between((before.families or []) if before else [], unchanged)
    in_controls = _between((before.controls or []) if before else [], unchanged)
    comparisons = Comparisons(held_out, stages, loaded, latents, compared, followed, run.report)
    own = trained(entries)
    ceilings, pairs, families = (make(own) for make in (comparisons.seeds, comparisons.sizes, comparisons.families))
    alive = {path: found.alive for path, found in latents.items()}
    found = {
        "version": VERSION,
        "run": dict.fromkeys(keys_of(RunInfo))
        | {"path": str(run.path), "rows": store.rows, **_origin(config, tokens)}
        | {"devices": list(store.devices) or None},
        "evaluation": {
            **{"sequences": held_out.sequences, "rows": held_out.rows},
            **_text_in_both(config, tokens, store, inputs, before),
        },
        "runs": None,
        "dictionaries": entries,
        "pairs": pairs,
        "ceilings": ceilings,
        "controls": for_nothing(entries, comparisons, in_controls),
        "families": families,
        "lineages": follow(families, alive, inputs.dictionaries, run.report),
        "choosing": grids(own, pairs),
        "truth": None if truth is None else truth.describe(),
        **over_entries(own),
        "activations": _activations(held_out, inputs, before),
        "shown": shown(),
        "inputs": inputs._asdict(),
    }
    return read_record(Metrics, to_json(found))


def over_entries(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gather what follows from the dictionaries' own entries: groups of seeds, and the rule of convergence."""
    found = to_json(groups(entries))
    return {"groups": found, "differences": differences(entries, found), "stopping": stopping(entries)}


def _origin(config: Experiment, tokens: TokenFile | None) -> dict[str, Any]:
    """Say what the rows come from: a model and a text, or what toy data assume."""
    if tokens is None:
        assert config.toy is not None
        return {"toy": config.toy.of_the_rows()}
    return {
        "model": config.model.name,
        "text": config.text.source,
        "context": tokens.context,
        "tokens": tokens.sequences * tokens.context,
        "positions": positions_in_words(config),
    }


def _text_in_both(
    config: Experiment, tokens: TokenFile | None, store: ActivationStore, inputs: Inputs, before: Metrics | None
) -> dict[str, Any]:
    """Say how much of the held-out text stands in the harvested text too; of toy data None."""
    if tokens is None:
        return {"shared_ngrams": None, "dropped_sequences": None}
    if before is not None and before.evaluation is not None and _same_evaluation(before, inputs):
        shared = before.evaluation.shared_ngrams
    else:
        shared = shared_ngrams(tokens, store.manifest["tokens"]["sequences"], config.held_out)
    return {"shared_ngrams": shared, "dropped_sequences": tokens.dropped_sequences}


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


def _still_valid(before: Metrics | None, inputs: Inputs) -> dict[str, Entry]:
    """Take over the earlier entries of dictionaries that did not change, if the evaluation did not."""
    if before is None or not _same_evaluation(before, inputs):
        return {}
    assert before.inputs is not None
    same = before.inputs.dictionaries
    return {e.path: e for e in before.dictionaries or [] if inputs.dictionaries.get(e.path) == same.get(e.path)}


def _same_evaluation(before: Metrics, inputs: Inputs) -> bool:
    return isinstance(before.inputs, InputHashes) and before.inputs.evaluation == inputs.evaluation


def _between(compared: Sequence[P], unchanged: set[str]) -> dict[Ends, P]:
    """Take over the earlier comparisons of dictionaries that did not change, by both paths."""
    return {(p.from_, p.to): p for p in compared if p.from_ in unchanged and p.to in unchanged}


def _evaluate(held_out: EvaluationRows, store: ActivationStore, dictionaries: list[Dictionary]) -> list[Evaluation]:
    if not dictionaries:
        return []
    for dictionary in dictionaries:
        if dictionary.hook not in store.hooks:
            raise UserError(f"{dictionary.path}: its hook {dictionary.hook!r} is not among those harvested")
    hooks = {dictionary.hook for dictionary in dictionaries}
    centres = {hook: torch.from_numpy(held_out.harvested(hook).mean).float() for hook in hooks}
    return held_out.measure(dictionaries, centres)


def _activations(
    held_out: EvaluationRows, inputs: Inputs, before: Metrics | None
) -> list[Activations] | list[dict[str, Any]]:
    if before is not None and before.inputs is not None and before.inputs.harvest == inputs.harvest:
        return before.activations or []
    return [_of_hook(held_out, hook) for hook in held_out.store.hooks]


def _of_hook(held_out: EvaluationRows, hook: str) -> dict[str, Any]:
    """Describe a hook: distributions over all harvested rows; massive rows; the rest of a sample without them."""
    statistics, kept = held_out.store.statistics(hook), held_out.harvested(hook)
    sample, massive = store_sample(kept), massive_rows(kept, held_out.config.massive_norm)
    return {
        "run": None,
        **describe(hook, statistics),
        "massive": massive
        and {**massive, "token_texts": held_out.token_texts([token for token, _ in massive["tokens"]])},
        "largest_dimension": largest_dimension(kept, sample),
        **_of_rows(sample, held_out.config.seed),
    }


def _of_rows(rows: Tensor, seed: int) -> dict[str, Any]:
    """Measure what statistics of single dimensions do not show, on a sample of harvested rows."""
    return {
        "fits": fit_laws(rows.double().numpy(), np.random.default_rng(seed)),
        "spectrum": spectrum(covariance(rows)),
        "privileged_basis": privileged_basis(rows, torch.Generator().manual_seed(seed)),
        "toy": assumptions(rows.clamp_min(0), np.random.default_rng(seed)),
    }
