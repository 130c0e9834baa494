"""Open a language model under TransformerLens' hook names, and run it only up to the last hook.

TransformerLens' `TransformerBridge` names the hook points. It also attends eagerly and splits the joint
query-key-value product, which costs up to half the speed. Nearly every hook point of [batch, position, width]
is the input or the output of one module of the Hugging Face model. For those, winnow hooks the module itself, in
a twin that shares the weights, with `sdpa` attention. Points inside attention or a normalisation have no such
module; if one is asked for, the bridge runs. `open_model` compares both ways, and drops a point where they differ.

    model = open_model(config.model)
    model.activations(tokens, ["blocks.2.hook_resid_post"])    # {name: [sequence, context, width]}
"""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn

from winnow.config.experiment import ModelSettings
from winnow.errors import UserError, refuse_changed
from winnow.hub import FAILURES, keep_commit, model_folder, quiet, why
from winnow.model.files import config_hash
from winnow.runtime.device import ALONE, choose_device
from winnow.runtime.hashing import hash_tensors
from winnow.runtime.ranks import Ranks
from winnow.shards.dtypes import TORCH

Replacement = tuple[str, Callable[[Tensor], Tensor]]


class Site(NamedTuple):
    """A hook point as a place in the Hugging Face model: a module's first input, or its output."""

    module: str  # its path, as `nn.Module.get_submodule` takes it
    side: Literal["in", "out"]


class _Enough(Exception):
    """Raised to end a forward pass once every activation asked for has been seen."""


class LanguageModel:
    """A model whose activations have TransformerLens' names.

    `hooks` lists the names of all hook points; `sites` maps those that a Hugging Face module serves directly to that
    module. `commit` is the commit of its repository on the hub, "" for a local folder. `config_hash`: of config.json
    (winnow/model/files.py), "" where there is none.
    """

    def __init__(
        self, plain: nn.Module, bridge: Any, modules: Mapping[int, str], commit: str = "", config_hash: str = ""
    ) -> None:
        self.commit = commit
        self.config_hash = config_hash
        self.plain = plain
        self.bridge = bridge
        parameter = next(plain.parameters())
        self.device = parameter.device
        self.d_vocab = int(plain.config.vocab_size)  # type: ignore[union-attr]
        self.context = int(bridge.cfg.n_ctx)
        self.sites = _sites(bridge, modules)
        self.hooks = list(bridge.hook_dict)

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

    @torch.no_grad()
    def activations(
        self, tokens: Int[Tensor, "sequence context"], hooks: Sequence[str]
    ) -> dict[str, Float[Tensor, "sequence context width"]]:
        """Run the model until it has computed all `hooks`; heads are flattened into the width.

        Raises `UserError` for a hook point that has no value per position.
        """
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[Tensor], None]:
            def hook(value: Tensor) -> None:
                seen[name] = _per_position(name, value, tokens)
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
        """Measure the width of each hook by running two tokens."""
        seen = self.activations(torch.zeros(1, 2, dtype=torch.int64), hooks)
        return {name: seen[name].shape[-1] for name in hooks}

    @torch.no_grad()
    def logits(
        self, tokens: Int[Tensor, "sequence context"], replace: Replacement | None = None
    ) -> Float[Tensor, "sequence context d_vocab"]:
        """Compute the logits; `replace=(name, f)` replaces the activation at hook `name` by f of it."""
        watched: dict[str, Callable[[Tensor], Tensor | None]] = {}
        if replace is not None:
            name, change = replace

            def hook(value: Tensor) -> Tensor:
                flat = _per_position(name, value, tokens)
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
        model = name_hooks(settings, plain, tokenizer, commit)
    _drop_unequal_sites(model)
    return model


def name_hooks(settings: ModelSettings, plain: nn.Module, tokenizer: Any, commit: str = "") -> LanguageModel:
    """Give a Hugging Face model TransformerLens' hook names, by a bridge over a twin that shares its weights."""
    # This takes seconds to load, and most that import this file open no model: toy data have none.
    from transformer_lens.model_bridge import TransformerBridge

    twin = _share_weights(plain)  # the bridge takes it apart
    modules = {id(module): path for path, module in twin.named_modules()}
    device = next(plain.parameters()).device
    bridge = TransformerBridge.boot_transformers(
        settings.name, hf_model=twin, tokenizer=tokenizer, device=device, dtype=TORCH[settings.dtype]
    )
    return LanguageModel(plain, bridge, modules, commit, config_hash(model_folder(settings.name, commit)))


def weight_hash(settings: ModelSettings) -> str:
    """Open a model on the CPU for nothing but its `LanguageModel.weight_hash`. Raises `UserError` as `open_model`."""
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        plain, _, _ = _load(settings, torch.device("cpu"), {})
    return hash_tensors(plain.state_dict().items())


def with_sdpa(make: Callable[..., Any]) -> Any:
    """Make a model with `sdpa` attention, or with its own where it has no such form; without gradients."""
    try:
        model = make(attn_implementation="sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        model = make()
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
    reason = why(error, settings.name, settings.revision)
    if Path(settings.name).exists():
        return f"model.name = {settings.name}: the folder cannot be read as a Hugging Face model ({reason})"
    return (
        f"model.name = {settings.name}: no such folder, and cannot be fetched from the hub at revision "
        f"{settings.revision} ({reason}); a local folder in Hugging Face format works too"
    )


def _sites(bridge: Any, modules: Mapping[int, str]) -> dict[str, Site]:
    """Find the hook points, aliases included, that are an input or output of a Hugging Face module."""
    by_point: dict[int, Site] = {}
    for component in bridge.modules():
        path = modules.get(id(getattr(component, "original_component", None)))
        if path is not None:
            for side in ("in", "out"):
                point = getattr(component, f"hook_{side}", None)
                if point is not None:
                    by_point[id(point)] = Site(path, side)
    return {name: by_point[id(point)] for name, point in bridge.hook_dict.items() if id(point) in by_point}


def _drop_unequal_sites(model: LanguageModel) -> None:
    """Keep the sites where module and bridge give the same value; some bridges hook inside a module, not around it."""
    tokens = torch.arange(8, device=model.device)[None] % model.d_vocab
    expected: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}

    def store(into: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
        def hook(value: Tensor) -> None:
            into.setdefault(name, value.detach().flatten().float())

        return hook

    sites = dict(model.sites)
    with torch.no_grad():
        model.run(tokens, {name: store(found, name) for name in sites})
        model.sites.clear()
        model.run(tokens, {name: store(expected, name) for name in sites})
    tolerance = 1e-4 if next(model.plain.parameters()).dtype == torch.float32 else 5e-2
    for name, site in sites.items():
        if name in found and name in expected and found[name].shape == expected[name].shape:
            error = (found[name] - expected[name]).norm()
            if error <= tolerance * expected[name].norm():
                model.sites[name] = site


def watch(model: nn.Module, site: Site, hook: Callable[[Tensor], Tensor | None]) -> Any:
    """Call `hook` with the value at a site in every pass; if it returns a tensor, that replaces the value.

    Returns the handle that removes the hook.
    """
    watched = model.get_submodule(site.module)
    if site.side == "in":

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                changed = hook(args[0])
                return None if changed is None else ((changed, *args[1:]), kwargs)
            changed = hook(kwargs["hidden_states"])
            return None if changed is None else (args, {**kwargs, "hidden_states": changed})

        return watched.register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            changed = hook(output[0])
            return None if changed is None else (changed, *output[1:])
        return hook(output)

    return watched.register_forward_hook(after)


def _per_position(name: str, value: Any, tokens: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim < 3 or value.shape[:2] != tokens.shape:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"{name}: its value is {shape}, not one vector per sequence and position")
    return value.flatten(2)
