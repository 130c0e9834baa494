"""Open a language model under TransformerLens' hook names, and run it only up to the last hook.

TransformerLens' `TransformerBridge` names the hook points. It also attends eagerly and splits the joint
query-key-value product, which costs up to half the speed. Nearly every hook point of [batch, position, width]
is the input or the output of one module of the Hugging Face model. For those, winnow hooks the module itself, in
a twin that shares the weights, with `sdpa` attention. Points inside attention or a normalisation have no such
module; if one is asked for, the bridge runs. `open_model` compares both ways, and drops a site where they differ
(`winnow.model.probe`).

    model = open_model(config.model)
    model.activations(tokens, ["blocks.2.hook_resid_post"])    # {name: [sequence, context, width]}
"""

import copy
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn

from winnow.config.experiment import ModelSettings
from winnow.errors import UserError, refuse_changed
from winnow.hub import FAILURES, keep_commit, model_folder, quiet, why
from winnow.model.files import config_hash
from winnow.model.probe import Probe, per_position, probe, shape_refusal
from winnow.model.sites import Site, find_sites, watch
from winnow.runtime.device import ALONE, choose_device
from winnow.runtime.hashing import hash_tensors
from winnow.runtime.ranks import Ranks
from winnow.shards.dtypes import TORCH

Replacement = tuple[str, Callable[[Tensor], Tensor]]


class _Enough(Exception):
    """Raised to end a forward pass once every activation asked for has been seen."""


class LanguageModel:
    """A model whose activations have TransformerLens' names.

    `hooks` lists the names of all that can be harvested, `refused` why the others cannot, by name; `sites` maps those
    that a Hugging Face module serves directly to that module. `reads_ahead`: what it computes at a token depends on
    later ones, as in an encoder. `commit` is the commit of its repository on the hub, "" for a local folder.
    `config_hash`: of config.json (winnow/model/files.py), "" where there is none.
    """

    def __init__(self, plain: nn.Module, bridge: Any, found: Probe, commit: str = "", config_hash: str = "") -> None:
        self.commit = commit
        self.config_hash = config_hash
        self.plain = plain
        self.bridge = bridge
        parameter = next(plain.parameters())
        self.device = parameter.device
        self.d_vocab = int(plain.config.vocab_size)  # type: ignore[union-attr]
        self.context = int(bridge.cfg.n_ctx)
        self.sites: dict[str, Site] = found.sites
        self.hooks = [name for name in found.widths if name not in found.refused]
        self.refused = found.refused
        self.reads_ahead = found.reads_ahead
        self._widths = found.widths

    def replica(self) -> "LanguageModel":
        """Make a model that shares the weights, for another thread; it serves only the hooks in `sites`."""
        return self.with_weights_of(_share_weights(self.plain))

    def with_weights_of(self, plain: nn.Module) -> "LanguageModel":
        """Give another model of the same architecture this one's hook names; it serves only those in `sites`."""
        other = copy.copy(self)
        other.plain = plain
        return other

    @property
    def weight_hash(self) -> str:
        """The sha256 over all weights in the compute dtype."""
        return hash_tensors(self.plain.state_dict().items())

    def refuse_other_weights(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        """Raise `UserError` if `folder` was made with other weights or another configuration.

        made_by: `model` of its manifest; older ones do not know the configuration.
        """
        name, config = "weights_sha256 of the model", "config_sha256 of the model"
        refuse_changed(folder, {name: made_by["weights_sha256"]}, {name: self.weight_hash})
        if made_by.get("config_sha256") and self.config_hash:
            refuse_changed(folder, {config: made_by["config_sha256"]}, {config: self.config_hash})

    def refuse_reading_ahead(self, name: str) -> None:
        """Raise `UserError` where the model predicts no token from those before it alone; `name`: its own."""
        if self.reads_ahead:
            raise UserError(
                f"model.name = {name}: what {type(self.plain).__name__} computes at a token depends on the tokens "
                "after it, as in an encoder; choose a causal language model"
            )

    @torch.no_grad()
    def activations(
        self, tokens: Int[Tensor, "sequence context"], hooks: Sequence[str]
    ) -> dict[str, Float[Tensor, "sequence context width"]]:
        """Run the model until it has computed all `hooks`; heads are flattened into the width.

        Raises `UserError` for a hook point that has no value per position.
        """
        self._refuse_without_value(hooks)
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[Tensor], None]:
            def hook(value: Tensor) -> None:
                seen[name] = rows_of(name, value, tokens)
                if len(seen) == len(hooks):
                    raise _Enough

            return hook

        try:
            self.run(tokens, {name: keep(name) for name in hooks})
        except _Enough:
            pass
        else:
            missing = ", ".join(name for name in hooks if name not in seen)
            raise UserError(f"{missing}: the model computes no such value in a plain forward pass")
        return seen

    def widths(self, hooks: Sequence[str]) -> dict[str, int]:
        """Return the width of each hook. Raises `UserError` for a hook point that has no value per position."""
        self._refuse_without_value(hooks)
        return {name: self._widths[name] for name in hooks}

    def _refuse_without_value(self, hooks: Sequence[str]) -> None:
        for name in hooks:
            if name not in self._widths:
                raise UserError(f"{name}: {self.refused.get(name, 'the model has no such hook')}")

    @torch.no_grad()
    def logits(
        self, tokens: Int[Tensor, "sequence context"], replace: Replacement | None = None
    ) -> Float[Tensor, "sequence context d_vocab"]:
        """Compute the logits; `replace=(name, f)` replaces the activation at hook `name` by f of it."""
        watched: dict[str, Callable[[Tensor], Tensor | None]] = {}
        if replace is not None:
            name, change = replace

            def hook(value: Tensor) -> Tensor:
                flat = rows_of(name, value, tokens)
                return change(flat).to(value.dtype).reshape(value.shape)

            watched[name] = hook
        return self.run(tokens, watched)

    def run(
        self, tokens: Int[Tensor, "sequence context"], watched: Mapping[str, Callable[[Tensor], Tensor | None]]
    ) -> Float[Tensor, "sequence context d_vocab"]:
        """Compute the logits, calling each function in `watched` with the value at its hook.

        Where a function returns a tensor, that replaces the value, which has the shape of the Hugging Face module's.
        """
        tokens = tokens.to(self.device).long()
        if all(name in self.sites for name in watched):
            handles = [watch(self.plain, self.sites[name], hook) for name, hook in watched.items()]
            try:
                return self.plain(tokens, use_cache=False).logits
            finally:
                for handle in handles:
                    handle.remove()
        hooks: list[Any] = [(name, lambda value, hook, f=f: f(value)) for name, f in watched.items()]
        with self.bridge.hooks(fwd_hooks=hooks):
            return self.bridge(tokens, return_type="logits")


def open_model(
    settings: ModelSettings, ranks: Ranks = ALONE, begun_with: Mapping[str, Any] | None = None
) -> LanguageModel:
    """Load a model by hub name or from a local folder, onto this rank's GPU if there are several.

    begun_with: name, revision and commit of the model that the run began with, from its tokens or manifest. If the
    revision has moved on since, that commit is loaded.
    Raises `UserError` naming what was tried if there is no such model, or it is not a language model.
    """
    device = choose_device(settings.device, ranks)
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # libraries warn about themselves
        plain, tokenizer, commit = _load(settings, device, begun_with or {})
        return name_hooks(settings, plain, tokenizer, commit)


def name_hooks(
    settings: ModelSettings, plain: nn.Module, tokenizer: Any, commit: str = "", compare: bool = True
) -> LanguageModel:
    """Give a Hugging Face model TransformerLens' hook names, by a bridge over a twin that shares its weights.

    compare: also compare values, which fake tensors do not have. Raises `UserError` where TransformerLens has no names
    for the architecture.
    """
    # This takes seconds to load, and most that import this file open no model: toy data have none.
    from transformer_lens.model_bridge import TransformerBridge

    twin = _share_weights(plain)  # the bridge takes it apart
    modules = {id(module): path for path, module in twin.named_modules()}
    device = next(plain.parameters()).device
    try:
        bridge = TransformerBridge.boot_transformers(
            settings.name, hf_model=twin, tokenizer=tokenizer, device=device, dtype=TORCH[settings.dtype]
        )
        found = probe(plain, bridge, find_sites(bridge, modules), compare)
    except (ValueError, AttributeError, KeyError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0][:200] or type(error).__name__
        raise UserError(
            f"model.name = {settings.name}: TransformerLens cannot open a {type(plain).__name__} ({reason}); "
            "choose a model of an architecture that it supports"
        ) from error
    return LanguageModel(plain, bridge, found, commit, config_hash(model_folder(settings.name, commit)))


def weight_hash(settings: ModelSettings) -> str:
    """Open a model on the CPU for nothing but its `LanguageModel.weight_hash`. Raises `UserError` as `open_model`."""
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        plain, _, _ = _load(settings, torch.device("cpu"), {})
    return hash_tensors(plain.state_dict().items())


def with_sdpa(make: Callable[..., Any]) -> Any:
    """Make a model with `sdpa` attention, or an eager one where it has no such form; without gradients."""
    try:
        model = make(attn_implementation="sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        model = make(attn_implementation="eager")  # by name: the configuration remembers `sdpa`
    return model.eval().requires_grad_(False)


def _share_weights(model: nn.Module) -> Any:
    """Copy the modules of a model, but not its tensors."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]})


def _load(settings: ModelSettings, device: torch.device, begun_with: Mapping[str, Any]) -> tuple[Any, Any, str]:
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it warns of token numbers in a model's config that nothing here reads
    same = (begun_with.get("name"), begun_with.get("revision")) == (settings.name, settings.revision)
    try:
        begun_at = begun_with.get("commit", "") if same else ""
        commit = keep_commit("model", settings.name, settings.revision, begun_at)
        load = partial(AutoModelForCausalLM.from_pretrained, settings.name, revision=commit or settings.revision)
        model = with_sdpa(partial(load, dtype=TORCH[settings.dtype]))
        # open it by folder: TransformerLens reads it again by that name, without a revision
        tokenizer = AutoTokenizer.from_pretrained(model_folder(settings.name, commit))
    except (*FAILURES, SafetensorError) as error:
        raise UserError(not_found(settings, error)) from error
    return nn.Module.to(model, device), tokenizer, commit


def not_found(settings: ModelSettings, error: Exception) -> str:
    """Explain in one line why a model could not be loaded, and what else works."""
    if other := re.search(r"Unrecognized configuration class .*?(\w+)'>", str(error)):
        return f"model.name = {settings.name}: {other[1]} is that of no causal language model; choose one"
    reason = why(error, settings.name, settings.revision)
    if Path(settings.name).exists():
        return f"model.name = {settings.name}: the folder cannot be read as a Hugging Face model ({reason})"
    return (
        f"model.name = {settings.name}: no such folder, and cannot be fetched from the hub at revision "
        f"{settings.revision} ({reason}); a local folder in Hugging Face format works too"
    )


def rows_of(name: str, value: Any, tokens: Tensor) -> Float[Tensor, "sequence context width"]:
    """Give the value at a hook as one vector per sequence and position. Raises `UserError` if it is none."""
    rows = per_position(value, tokens)
    if rows is None:
        raise UserError(f"{name}: {shape_refusal(value)}")
    return rows
