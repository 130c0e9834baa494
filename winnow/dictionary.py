"""A trained dictionary (sparse autoencoder): encode, decode, load, save.

    d = winnow.load_dictionary("runs/demo/dictionaries/blocks.2.hook_resid_post/topk-1024-k32-seed0")
    f = d.encode(x)                 # [..., n_latents] >= 0
    y = d.decode(f)                 # [..., d_model], in the activations' own units

On disk it is a folder in SAELens' layout (winnow/formats/saelens.py), so SAELens opens it too; `training.json` records
how it was trained. `cfg.json` is written last: a folder without it is not a finished dictionary.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from winnow.errors import UserError, nearest
from winnow.fields import read_fields
from winnow.formats import saelens
from winnow.formats.contents import section
from winnow.formats.layouts import format_of, hub_address
from winnow.hub import fetch_dictionary
from winnow.massive.description import check_massive
from winnow.paths import as_path
from winnow.placement import refuse_misplaced, refuse_no_run
from winnow.runtime.device import device_named
from winnow.runtime.hashes import Noted, check_file, said_of
from winnow.runtime.publish import publish_text
from winnow.runtime.run import finished_dictionaries
from winnow.shapes import checks_shapes, take_rows

TRAINING = "training.json"
WEIGHTS_SHA256 = "weights_sha256"
REMEDY = "restore it, or delete its folder, and train again"


class Dictionary(nn.Module):
    """A sparse autoencoder: latents f(x) >= 0 from pre = (x - b_dec) @ W_enc + b_enc; reconstruction f @ W_dec + b_dec.

    relu: f = ReLU(pre). topk: the k largest of ReLU(pre), the others zero. With `groups` (sparsify's groupmax): the
    largest of ReLU(pre) in each of `groups` groups of consecutive latents. With `threshold` (jumprelu; batchtopk
    and matryoshka once trained): f = ReLU(pre) where pre > threshold. With `r_mag` and `b_mag` (gated): where
    pre > 0, f = ReLU((x - b_dec) @ (W_enc * exp(r_mag)) + b_mag).

    path: the folder it was loaded from. hook: where its activations come from. provenance: the content of
    `training.json`; empty if there is no such file. Raises `UserError` for tensors whose shapes do not fit each other,
    and for two rules at once by which latents would be chosen.
    """

    r_mag: Tensor | None
    b_mag: Tensor | None
    threshold: Tensor | None

    @checks_shapes
    def __init__(
        self,
        W_enc: Float[Tensor, "d_model n_latents"],
        b_enc: Float[Tensor, " n_latents"],
        W_dec: Float[Tensor, "n_latents d_model"],
        b_dec: Float[Tensor, " d_model"],
        *,
        architecture: str = "relu",
        k: int | None = None,
        groups: int | None = None,
        threshold: Float[Tensor, " n_latents"] | None = None,
        r_mag: Float[Tensor, " n_latents"] | None = None,
        b_mag: Float[Tensor, " n_latents"] | None = None,
        hook: str = "",
        path: Path | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check_rule(W_enc.shape[1], k, groups, threshold is not None, r_mag, b_mag)
        self.W_enc = nn.Parameter(W_enc, requires_grad=False)
        self.b_enc = nn.Parameter(b_enc, requires_grad=False)
        self.W_dec = nn.Parameter(W_dec, requires_grad=False)
        self.b_dec = nn.Parameter(b_dec, requires_grad=False)
        for name, value in (("threshold", threshold), ("r_mag", r_mag), ("b_mag", b_mag)):
            self.register_parameter(name, None if value is None else nn.Parameter(value, requires_grad=False))
        self.d_model, self.n_latents = W_enc.shape
        self.architecture = architecture
        self.k = k
        self.groups = groups
        self.hook = hook
        self.path = path
        self.provenance: dict[str, Any] = dict(provenance or {})

    def encode(
        self, x: Float[Tensor, "*rows d_model"] | Float[np.ndarray, "*rows d_model"]
    ) -> Float[Tensor, "*rows n_latents"]:
        """Compute the latents of activations `x`, a tensor or a numpy array; they are cast to the weights' dtype.

        Raises `UserError` for another width, for integers, and for a tensor on another device than the weights.
        """
        x = take_rows(f"{self.path or 'Dictionary'}: encode", x, self.d_model, self.b_dec)
        if self.k is not None and self.k > self.n_latents:
            raise UserError(f"{self.path or 'Dictionary'}: k = {self.k} is more than its {self.n_latents} latents")
        centred = x - self.b_dec
        pre = centred @ self.W_enc + self.b_enc
        if self.k is not None:
            values, latents = pre.topk(self.k, dim=-1, sorted=False)
            return torch.zeros_like(pre).scatter_(-1, latents, values.relu_())
        if self.groups is not None:
            grouped = pre.unflatten(-1, (self.groups, -1))
            values, latents = grouped.max(dim=-1, keepdim=True)
            return torch.zeros_like(grouped).scatter_(-1, latents, values.relu_()).flatten(-2)
        if self.r_mag is not None and self.b_mag is not None:
            magnitude = centred @ (self.W_enc * self.r_mag.exp()) + self.b_mag
            return magnitude.relu_() * (pre > 0)
        if self.threshold is not None:
            return pre.relu() * (pre > self.threshold)
        return pre.relu_()

    def decode(
        self, f: Float[Tensor, "*rows n_latents"] | Float[np.ndarray, "*rows n_latents"]
    ) -> Float[Tensor, "*rows d_model"]:
        """Reconstruct activations from latents, a tensor or a numpy array. Raises `UserError` as `encode` does."""
        f = take_rows(f"{self.path or 'Dictionary'}: decode", f, self.n_latents, self.b_dec)
        return f @ self.W_dec + self.b_dec

    def forward(
        self, x: Float[Tensor, "*rows d_model"] | Float[np.ndarray, "*rows d_model"]
    ) -> Float[Tensor, "*rows d_model"]:
        """Encode, then decode."""
        return self.decode(self.encode(x))

    def extra_repr(self) -> str:
        k = "" if self.k is None else f", k={self.k}"
        return f"{self.architecture}, d_model={self.d_model}, n_latents={self.n_latents}{k}, hook={self.hook!r}"

    def __repr__(self) -> str:
        path = "" if self.path is None else f", path={str(self.path)!r}"
        return f"Dictionary({self.extra_repr()}{path})"


def _check_rule(
    n_latents: int, k: Any, groups: Any, has_threshold: bool, r_mag: Tensor | None, b_mag: Tensor | None
) -> None:
    """Raise `UserError` unless latents are chosen by one rule at most."""
    if (r_mag is None) != (b_mag is None):
        raise UserError(
            f"Dictionary: expected r_mag and b_mag together, found {'b_mag' if r_mag is None else 'r_mag'} alone"
        )
    rules = {"k": k is not None, "groups": groups is not None, "threshold": has_threshold, "r_mag": r_mag is not None}
    given = [name for name, is_given in rules.items() if is_given]
    if len(given) > 1:
        raise UserError(f"Dictionary: expected one of k, groups, threshold and r_mag, found {' and '.join(given)}")
    for name, value in (("k", k), ("groups", groups)):
        if value is not None and (type(value) is not int or value < 1):
            raise UserError(f"Dictionary: {name}: expected a positive integer, found {value!r:.60}")
    if groups is not None and n_latents % groups:
        raise UserError(f"Dictionary: expected groups that divide {n_latents} latents, found {groups}")


def load_dictionary(path: str | Path, device: torch.device | str = "cpu") -> Dictionary:
    """Open a dictionary on a device: a folder in the layout of SAELens, dictionary_learning or sparsify
    (docs/guide/interop.md).

    `hf:owner/name/folder@revision` opens one from the Hugging Face Hub, where a revision is a branch, tag or commit;
    files fetched before open without a network.
    Raises `UserError` naming the file and what is missing, misshapen or unknown in it; of a folder that is no
    dictionary, what is there and whose it looks like; of one in a run, the width that rows have there; for a device
    that is not there.
    """
    device = device_named("load_dictionary: device", device)
    if address := hub_address(str(path)):
        raise UserError(f"{path}: expected a folder, or hf:OWNER/NAME/FOLDER; for this page write {address}")
    folder = fetch_dictionary(str(path)) if str(path).startswith("hf:") else as_path(path, "load_dictionary")
    contents = format_of(folder).read(folder)
    provenance = read_training(folder)
    _check_weights(folder, provenance)
    for name in (saelens.CONFIG, TRAINING):
        check_file(folder / name, said_of(folder / name), REMEDY)
    hook = str(contents.metadata.get("hook_name") or "")
    refuse_misplaced(folder, len(contents.tensors["b_dec"]), hook)
    return Dictionary(
        **contents.tensors,
        # SAELens' layout calls a batchtopk dictionary jumprelu; here it keeps its name
        architecture=section(folder / TRAINING, provenance, "settings").get("architecture", contents.architecture),
        k=contents.k,
        groups=contents.groups,
        hook=hook,
        path=folder,
        provenance=provenance,
    ).to(device)


def load_dictionaries(
    run: str | Path, hook: str | None = None, controls: bool = False, device: torch.device | str = "cpu"
) -> list[Dictionary]:
    """Open every finished dictionary of a run, or of one hook, sorted by hook, architecture, size, sparsity and seed.

    controls: with those that were trained to show what a metric gives for nothing (`train.dictionaries.control`).
    device: where the weights are to lie.
    Raises `UserError` if there is no such run, no finished dictionary at `hook`, or no such device.
    """
    device = device_named("load_dictionaries: device", device)
    run = as_path(run, "load_dictionaries")
    refuse_no_run(run)
    folder = run / "dictionaries"
    finished = [path for path in finished_dictionaries(run) if controls or control_of(path) is None]
    hooks = {path.parent.name for path in finished}
    if hook is not None and not isinstance(hook, str):
        raise UserError(f"{folder}: expected the name of a hook, found {type(hook).__name__}")
    if hook is not None and hook not in hooks:
        known = f"; there are {', '.join(sorted(hooks))}" if hooks else "; run make train"
        raise UserError(f"{folder}: no finished dictionary at hook {hook}{nearest(hook, hooks)}{known}")
    loaded = [load_dictionary(path, device) for path in finished if hook in (None, path.parent.name)]
    return sorted(loaded, key=lambda d: (d.hook, d.architecture, d.n_latents, d.k or 0, _numbers_apart(d.path)))


def control_of(folder: Path) -> str | None:
    """Read what a dictionary is a control for, by the record of its training; None for one to be used."""
    return (read_training(folder).get("settings") or {}).get("control")


def read_training(folder: Path) -> dict[str, Any]:
    """Read the record of a dictionary's training; empty where there is none.

    Raises `UserError` naming the file and the field of a value that has another type than is written there.
    """
    path = folder / TRAINING
    try:
        fields = read_fields(path, REMEDY)
    except FileNotFoundError:
        return {}
    fields.expect(integers=("rows",), objects=("settings", "convergence", "activations", "left_out", "toy"))
    if fields.has("settings"):
        fields.object("settings").expect(
            texts=("architecture", "control", "initialisation"),
            integers=("n_latents", "k", "seed"),
            numbers=("l1_coefficient", "l0_coefficient", "noise", "learning_rate", "decay"),
        )
    if fields.has("convergence"):
        fields.object("convergence").expect(
            texts=("reason",),
            numbers=("slope", "self_similarity", "fvu", "loss_share", "start_similarity"),
            flags=("converged", "stalled"),
        )
    if fields.has("activations"):
        made_from = fields.object("activations")
        made_from.expect(texts=("text", "text_commit"), integers=("rows", "context"), objects=("model",))
        if made_from.has("model"):
            made_from.object("model").text("name")
    if fields.has("left_out"):
        check_massive(fields.object("left_out"))
    if WEIGHTS_SHA256 in fields.all:
        fields.digest(WEIGHTS_SHA256)
    return fields.all


def _check_weights(folder: Path, provenance: Mapping[str, Any]) -> bool:
    """Hash the weights again; False where no hash was kept. Raises `UserError` where they are others."""
    noted, path = provenance.get(WEIGHTS_SHA256), folder / saelens.WEIGHTS
    if noted is None or not path.exists():
        return False
    check_file(path, Noted(path.stat().st_size, noted), f"delete {folder}, and train again", TRAINING)
    return True


def verify_dictionary(dictionary: Dictionary) -> bool:
    """Hash the weights again; False where no hash was kept: by another program, or an older version.

    Raises `UserError` where they are not those that were written.
    """
    return dictionary.path is not None and _check_weights(dictionary.path, dictionary.provenance)


def save_dictionary(
    dictionary: Dictionary, folder: str | Path, metadata: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Write a dictionary to `folder`; a reader finds it complete or not at all.

    metadata: the fields of SAELens' metadata (model_name, context_size, prepend_bos, …); the hook's name is added.
    provenance: the content of `training.json`; the hash of the weights is added. Raises `UserError` for groupmax.
    """
    folder = as_path(folder, "save_dictionary")
    if not isinstance(dictionary, Dictionary):
        raise UserError(f"{folder}: expected a Dictionary to save, found {type(dictionary).__name__}")
    if dictionary.groups is not None:
        raise UserError(f"{folder}: dictionaries are saved in SAELens' layout, which has no groupmax")
    folder.mkdir(parents=True, exist_ok=True)
    written = saelens.write_weights(folder, dict(dictionary.named_parameters()))
    publish_text(folder / TRAINING, json.dumps({**provenance, WEIGHTS_SHA256: written}, indent=1) + "\n")
    config = saelens.describe(
        saelens.rule_of(dictionary.k, dictionary.threshold, dictionary.r_mag),
        dictionary.architecture,
        dictionary.d_model,
        dictionary.n_latents,
        dictionary.k,
        {"hook_name": dictionary.hook, **metadata},
    )
    publish_text(folder / saelens.CONFIG, json.dumps(config, indent=1) + "\n")


def _numbers_apart(path: Path | None) -> list[tuple[bool, float, str]]:
    """Split a name so that l1_2 comes before l1_10."""
    pieces = re.split(r"(\d+(?:\.\d+)?)", "" if path is None else path.name)
    return [(i % 2 == 1, float(piece), "") if i % 2 else (False, 0.0, piece) for i, piece in enumerate(pieces)]
