"""What verify, readers and the stages' own functions make of a run: numbers, a refusal in one line, or a traceback."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analyze.evaluation.latents import read_latents
from analyze.inputs import Inputs
from analyze.runs.compare_runs import _config_of
from analyze.schema.file import read_metrics
from analyze.update import changed_files
from harvest.plan import plan_harvest
from harvest.stage import _complete
from train.checkpoint import checkpoint_rows, read_checkpoint
from train.hub.push import _metrics
from train.plan import plan_dictionaries, refuse_other_settings
from train.sweep import finished_store
from winnow.config.experiment import Experiment
from winnow.dictionary import load_dictionaries, load_dictionary
from winnow.errors import UserError
from winnow.runtime.hashes import HASHES, read_hashes
from winnow.runtime.run import Run
from winnow.runtime.to_json import to_json
from winnow.shards.manifest import read_manifest
from winnow.store import ActivationStore
from winnow.tokens import open_tokens
from winnow.verify import verify

TOKENS, BEGUN = "tokens.h5", "begun"
EVERY = {TOKENS, BEGUN, HASHES, "activations", "dictionaries", "report", "config.toml"}
FINDINGS = ("report", "record")  # what they give is no number: which files changed, and which are listed
VALUES = ("rows of the store", "rows of the tokens")  # what no reader hashes: verify alone finds other values there


class Traceback(Exception):
    """Something other than a refusal in one line."""


def outcomes(config: Experiment, begun: Experiment, area: str | None = None) -> dict[str, str]:
    """Try what reads the files of an area, or everything.

    By name it gives a hash of the numbers, or the refusal, which starts with "refused: ".
    """
    readers = _readers(config, begun)
    return {name: _outcome(name, read) for name, areas, read in readers if area is None or area in areas}


def area_of(path: Path, config: Experiment) -> str:
    """Name the area of a file: the first part of its name in the finished run; BEGUN for the other run."""
    return path.relative_to(config.run).parts[0] if path.is_relative_to(config.run) else BEGUN


def _outcome(name: str, read: Callable[[], Any]) -> str:
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            digest = hashlib.sha256()
            _feed(digest, read())
            return digest.hexdigest()
    except UserError as refusal:
        message = str(refusal)
        if "\n" in message or len(message) > 1000:
            raise Traceback(f"{name}: a refusal of more than a line: {message}") from refusal
        message.encode("utf-8")
        return f"refused: {message}"
    except Exception as error:
        raise Traceback(f"{name}: {type(error).__name__}: {error}") from error


def _readers(config: Experiment, begun: Experiment) -> Iterator[tuple[str, set[str], Callable[[], Any]]]:
    run, unfinished = Run(Path(config.run)), Run(Path(begun.run))

    def tokens():
        return open_tokens(run.tokens)

    def verified_tokens():
        found = tokens()
        found.verify()
        return found

    def checkpoints():
        planned = plan_dictionaries(begun, read_manifest(unfinished.activations).written, unfinished.dictionaries)
        refuse_other_settings(planned)
        return [read_checkpoint(p.folder, rows) for p in planned for rows in sorted(checkpoint_rows(p.folder))]

    def plan():
        manifest = read_manifest(run.activations).written
        planned = plan_dictionaries(config, manifest, run.dictionaries)
        refuse_other_settings(planned)
        return to_be_made(all(p.finished for p in planned))

    def to_be_made(found: Any) -> Any:
        """What is not there is made again by its stage; no number is taken from it."""
        if not found:
            raise UserError("not there; it is made again")
        return found

    def harvested():
        return to_be_made(_complete(run.activations, plan_harvest(config, tokens())))

    def rows():
        store = ActivationStore(run.activations)
        return [store.read(hook, 0, store.rows) for hook in store.hooks], store.tokens(0, store.rows), norms(store)

    def norms(store: ActivationStore):
        return [list(store.norms(hook)) for hook in store.hooks]

    def store():
        store = finished_store(run.activations)
        statistics = [(store.statistics(hook), store.median_norm(hook)) for hook in store.hooks]
        return store.manifest, store.rows, store.hooks, store.context, store.shards, statistics

    yield "verify", EVERY - {BEGUN}, lambda: verify(config)
    yield "verify of one begun", {BEGUN}, lambda: verify(begun)
    yield "tokens", {TOKENS, HASHES}, verified_tokens
    yield "rows of the tokens", {TOKENS, HASHES}, lambda: tokens().read(0, tokens().sequences)
    yield "store", {"activations", HASHES}, store
    yield "rows of the store", {"activations", HASHES}, rows
    yield (
        "harvest",
        {TOKENS, "activations", HASHES},
        harvested,
    )
    yield "dictionaries", {"dictionaries", HASHES}, lambda: load_dictionaries(run.path)
    yield (
        "snapshots",
        {"dictionaries", HASHES},
        lambda: [load_dictionary(path) for path in sorted(run.dictionaries.rglob("rows-*"))],
    )
    yield "train", {"activations", "dictionaries", HASHES}, plan
    yield "checkpoints", {BEGUN}, checkpoints
    yield "analyze", {TOKENS, "activations", "dictionaries", HASHES}, lambda: Inputs.of(config, tokens(), {})
    yield "metrics", {"report", HASHES}, lambda: to_json(to_be_made(read_metrics(run.report / "metrics.json")))
    yield "metrics for the hub", {"report", HASHES}, lambda: to_be_made(_metrics(run.report / "metrics.json"))
    yield "latents", {"report", HASHES}, lambda: to_be_made(read_latents(run.report / "latents.h5"))
    yield "report", {"report", HASHES}, lambda: changed_files(run.report)
    yield "record", {HASHES}, lambda: read_hashes(run.path)
    yield "configuration", {"config.toml", HASHES}, lambda: _config_of(str(run.path)).model_dump(mode="json")


def _feed(digest: Any, value: Any) -> None:
    """Hash numbers in whatever they are kept."""
    if isinstance(value, torch.nn.Module):
        _feed(digest, [value.k, value.architecture, value.hook, value.provenance, dict(value.named_parameters())])  # type: ignore[attr-defined]
    elif isinstance(value, torch.Tensor):
        _feed(digest, value.detach().numpy())
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(f"{key}:".encode())
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"({len(value)}".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(repr(value).encode("utf-8", "backslashreplace"))
