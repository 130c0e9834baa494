"""The MLP of a layer of a language model: weights, gate and norm, found by its hooks and checked against them.

    mlp = read_mlp(model, 3)        # an MLP of winnow.spline.mlp
    mlp.pre(rows)                   # blocks.3.mlp.hook_pre, of rows of blocks.3.mlp.hook_in

W_in is that of the module whose output is `mlp.hook_pre`, W_out that of the module whose input is `mlp.hook_post`, the
gate is the one that the model's config names, and the norm is the module whose output is `mlp.hook_in`. What is found
so is run on tokens, and on inputs that drive the gate over its whole range; it must give what the model's own modules
give.
"""

import copy
from contextlib import ExitStack
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, Site, watch
from winnow.spline.gates import find_gate
from winnow.spline.mlp import MLP, Norm

TOKENS = 8
TOLERANCE = 1e-4  # of the largest value, and of 1 where that is smaller
TOLERANCE_HALF = 5e-2  # of a model in half precision; its gate is still held to TOLERANCE

_read: WeakKeyDictionary[LanguageModel, dict[int, MLP]] = WeakKeyDictionary()


def read_mlp(model: LanguageModel, layer: int) -> MLP:
    """Find the MLP of a layer, once for each model; float32 at least, its memory shared with the model where it can be.

    Raises `UserError` for a layer that the model lacks, for an MLP of another form, for a gate without codes, and where
    the MLP as found does not give what the hooks give.
    """
    known = _read.setdefault(model, {})
    if layer not in known:
        known[layer] = _Reader(model, layer).read()
    return known[layer]


def residual_hook(model: LanguageModel, layer: int) -> str:
    """Name the hook whose value the MLP's norm reads: hook_resid_mid, in parallel blocks hook_resid_pre."""
    middle = f"blocks.{layer}.hook_resid_mid"
    return middle if middle in model.hooks else f"blocks.{layer}.hook_resid_pre"


class _Values(NamedTuple):
    """What the model's own modules give at an MLP's hooks, rows of one pass."""

    u: Tensor
    pre: Tensor
    post: Tensor
    out: Tensor
    linear: Tensor | None  # what the gate is multiplied by


class _Reader:
    """Reads one layer's MLP."""

    def __init__(self, model: LanguageModel, layer: int) -> None:
        self.model = model
        self.block = f"blocks.{layer}"
        if f"{self.block}.hook_resid_post" not in model.hooks:
            layers = sum(name.endswith(".hook_resid_post") for name in model.hooks)
            raise UserError(f"layer = {layer}: the model has layers 0 to {layers - 1}")
        self.whole = self._site("mlp.hook_in")
        self.sites = {name: self._site(name) for name in ("mlp.hook_pre", "mlp.hook_post", "hook_mlp_out")}
        linear = f"{self.block}.mlp.hook_pre_linear"
        if linear in model.hooks:
            self.sites["mlp.hook_pre_linear"] = self._site("mlp.hook_pre_linear")

    def read(self) -> MLP:
        model = self.model
        W_in, b_in = self._affine("mlp.hook_pre", "out")
        W_out, b_out = self._affine("mlp.hook_post", "in")
        W_value = b_value = None
        if "mlp.hook_pre_linear" in self.sites:
            W_value, b_value = self._affine("mlp.hook_pre_linear", "out")
        name = _gate_name(model.plain.config)
        mlp = MLP(W_in, b_in, W_out, b_out, find_gate(name), W_value, b_value, name=self.block)
        seen, residual, norm = self._values_of_tokens()
        half = next(model.plain.parameters()).dtype in (torch.float16, torch.bfloat16)
        self._compare(mlp, seen, TOLERANCE_HALF if half else TOLERANCE)
        self._compare(mlp, self._values_of_wide_inputs(mlp, seen.u), TOLERANCE)
        if norm is None or residual is None:
            return mlp
        fitting = _norm(norm, residual, seen.u, self.block, TOLERANCE_HALF if half else TOLERANCE)
        return MLP(W_in, b_in, W_out, b_out, mlp.gate, W_value, b_value, fitting, self.block)

    def _site(self, point: str) -> Site:
        site = self.model.sites.get(f"{self.block}.{point}")
        if site is None:
            raise UserError(
                f"{self.block}.{point}: no module of this model has it as its input or output; the MLP must be made of "
                "two linear modules and a gate, or three where it is gated"
            )
        return site

    def _affine(self, point: str, side: str) -> tuple[Tensor, Tensor]:
        """Give the weight [in, out] and bias of the linear module at a hook, float32 at least."""
        site = self.sites[point]
        module: Any = self.model.plain.get_submodule(site.module)
        kind = type(module).__name__
        if site.side != side or not (isinstance(module, nn.Linear) or kind == "Conv1D"):
            raise UserError(
                f"{self.block}.{point}: expected a Linear or a Conv1D, found {kind}; this MLP cannot be read"
            )
        W = module.weight.detach().T if isinstance(module, nn.Linear) else module.weight.detach()
        W = W if W.dtype == torch.float64 else W.float()
        return W, W.new_zeros(W.shape[1]) if module.bias is None else module.bias.detach().to(W)

    @torch.no_grad()
    def _values_of_tokens(self) -> tuple[_Values, Tensor | None, nn.Module | None]:
        """Run some tokens; also give the norm that the MLP reads from, if any, and its input."""
        plain = self.model.plain
        tokens = torch.arange(TOKENS, device=self.model.device)[None] * 97 % self.model.d_vocab
        norms: list[tuple[nn.Module, Tensor, Tensor]] = []

        def keep(module: nn.Module, args: Any, output: Any) -> None:
            norms.append((module, args[0], output))

        with ExitStack() as stack:
            for module in plain.modules():
                if "norm" in type(module).__name__.lower():
                    stack.callback(module.register_forward_hook(keep).remove)
            values, u = _watched(
                plain, {"mlp.hook_in": self.whole, **self.sites}, lambda: plain(tokens, use_cache=False)
            )
        module, residual = next(((m, read) for m, read, gave in norms if gave is u), (None, None))
        return values, None if residual is None else residual.flatten(0, -2), module

    @torch.no_grad()
    def _values_of_wide_inputs(self, mlp: MLP, u: Tensor) -> _Values:
        """Run a float32 copy of the MLP on inputs whose pre-activations spread by 3, which those of tokens need not."""
        path = self.whole.module
        inside = [site.module == path or site.module.startswith(f"{path}.") for site in self.sites.values()]
        if self.whole.side != "in" or not all(inside):
            raise UserError(f"{self.block}.mlp.hook_in: it is not the input of one module that is the whole MLP")
        module = copy.deepcopy(self.model.plain.get_submodule(path)).to(mlp.W_in.dtype)
        wide = torch.randn(256, mlp.d_in, generator=torch.Generator().manual_seed(0)).to(mlp.W_in)
        wide *= 3 / (wide @ mlp.W_in).std()
        sites = {name: site._replace(module=site.module[len(path) + 1 :]) for name, site in self.sites.items()}
        whole = self.whole._replace(module="")
        return _watched(module, {"mlp.hook_in": whole, **sites}, lambda: module(wide[None]))[0]

    def _compare(self, mlp: MLP, seen: _Values, tolerance: float) -> None:
        """Compare each step with the model's, from the model's own values before it."""
        active = mlp.gate(seen.pre)
        steps = [("u W_in + b_in", "mlp.hook_pre", mlp.pre(seen.u), seen.pre)]
        if mlp.W_value is not None and seen.linear is not None:
            steps.append(("u W_value + b_value", "mlp.hook_pre_linear", mlp.value(seen.u), seen.linear))
            active = active * seen.linear
        steps.append(("g(h)", "mlp.hook_post", active, seen.post))
        steps.append(("a W_out + b_out", "hook_mlp_out", seen.post @ mlp.W_out + mlp.b_out, seen.out))
        for formula, hook, found, expected in steps:
            # the gate acts on single numbers, so there each is compared with its own size
            scale = expected.abs() if hook == "mlp.hook_post" else expected.abs().max()
            error = (found - expected).abs()
            if not (error <= tolerance * scale.clamp(min=1)).all():
                raise UserError(
                    f"{self.block}: {formula} differs from {hook} by {error.max().item():.2g}; gate {mlp.gate.name} "
                    "was read from the config; this model's MLP is not of that form"
                )


def _watched(model: nn.Module, sites: dict[str, Site], run: Any) -> tuple[_Values, Tensor]:
    """Run, and give the values at the sites as rows, and `mlp.hook_in` as the very tensor that it was."""
    seen: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name, site in sites.items():
            stack.callback(watch(model, site, lambda value, name=name: seen.update({name: value})).remove)
        run()
    order = ("mlp.hook_in", "mlp.hook_pre", "mlp.hook_post", "hook_mlp_out", "mlp.hook_pre_linear")
    rows = [
        value.flatten(0, -2).to(torch.promote_types(value.dtype, torch.float32))
        for value in map(seen.get, order)
        if value is not None
    ]
    return _Values(*rows, *[None] * (len(order) - len(rows))), seen["mlp.hook_in"]


def _gate_name(config: Any) -> str:
    for key in ("activation_function", "hidden_activation", "hidden_act"):
        name = getattr(config, key, None)
        if name is not None:
            return str(name)
    raise UserError(
        "the model's config names no gate: expected activation_function, hidden_activation or hidden_act; its "
        "codes are not known"
    )


def _norm(module: Any, residual: Tensor, u: Tensor, block: str, tolerance: float) -> Norm:
    """Read a norm, of which some store weight − 1, and choose what gives the module's output."""
    residual = residual.to(u)
    weight = u.new_ones(u.shape[1]) if getattr(module, "weight", None) is None else module.weight.detach().to(u)
    bias = torch.zeros_like(weight) if getattr(module, "bias", None) is None else module.bias.detach().to(u)
    eps = getattr(module, "eps", None) or getattr(module, "variance_epsilon", None) or 0.0
    kind = "layer" if isinstance(module, nn.LayerNorm) else "rms"
    for candidate in (Norm(kind, weight, bias, eps), Norm(kind, weight + 1, bias, eps)):
        if ((candidate(residual) - u).abs() <= tolerance * u.abs().max().clamp(min=1)).all():
            return candidate
    raise UserError(
        f"{block}: {type(module).__name__} before the MLP is neither LayerNorm nor RMSNorm; give rows behind it"
    )
