"""Find out which hook points of a model have a value per position, by running two short sequences through it.

TransformerLens names more points than a pass computes, and some of its values are patterns of attention, or one table
for all sequences. The two sequences begin alike and end differently: so a model in which a token sees what comes after
it is known by its logits at the beginning, and a matrix of rows by whether its rows are in the order of the positions.

Points behind TransformerLens' switches (use_hook_mlp_in, use_attn_in, use_split_qkv_input, use_attn_result) stay off.
They hold copies of the residual stream, one for each head, or what `attn.hook_z` times W_O gives; two of the switches
exclude one another, and use_attn_result takes `attn.o.hook_out` away.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from winnow.model.sites import Site, watch

LENGTHS = (7, 11, 13, 17, 19, 23, 5, 3, 2)  # of the sequences: the first that is no other size of the model
AGREE, AGREE_HALF = 1e-4, 5e-2  # difference between module and bridge, of the norm
AHEAD = 1e-4  # difference between the logits of equal beginnings, of the norm; a causal model's are equal to the bit
NOISE = 10.0  # times the difference between rows of a batch that should be equal
BEHIND_SWITCHES = {
    "hook_mlp_in": "hook_resid_mid, or hook_resid_pre where there is none, has the same values",
    **dict.fromkeys(
        ("hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input"),
        "hook_resid_pre has the same values, without a copy for each head",
    ),
    "hook_result": "attn.hook_z times W_O gives it",
}


class Probe(NamedTuple):
    """What a probe found.

    widths: of every hook with a value per position, in the model's order. refused: by name, why a hook cannot be
    harvested; it is in `widths` too if it has a value, but not the one that its name promises. sites: those where
    module and bridge agree. reads_ahead: whether the logits depend on what comes after.
    """

    widths: dict[str, int]
    refused: dict[str, str]
    sites: dict[str, Site]
    reads_ahead: bool


class _Seen:
    """What one hook point gave."""

    def __init__(self) -> None:
        self.times = 0
        self.width = 0
        self.wrong = ""  # why it has no value per position
        self.agrees = False  # with the module


def per_position(value: Any, tokens: Tensor) -> Tensor | None:
    """Give a value as [sequence, position, width], heads flattened into the width; None for any other value.

    Some modules take the positions of all sequences as the rows of one matrix, [sequence · position, width].
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    if value.ndim >= 3 and value.shape[:2] == tokens.shape:
        return value.flatten(2)
    if value.ndim >= 2 and len(value) == tokens.numel():
        return value.reshape(*tokens.shape, -1)
    return None


def shape_refusal(value: Any) -> str:
    """Say why `per_position` has nothing for a value."""
    if isinstance(value, Tensor) and not value.is_floating_point():
        return f"its values are {str(value.dtype).removeprefix('torch.')} numbers, not activations"
    shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
    return f"its value is {shape}, not one vector per sequence and position"


@torch.no_grad()
def probe(plain: nn.Module, bridge: Any, sites: Mapping[str, Site], compare: bool = True) -> Probe:
    """Run two sequences through the bridge, and through the model itself unless `compare` is False.

    Without the comparison every site is taken to agree, and the model not to read ahead; fake tensors have no values.
    """
    tokens = _sequences(plain, bridge)
    half = next(plain.parameters()).dtype in (torch.float16, torch.bfloat16)
    found, logits = _run_modules(plain, set(sites.values()), tokens) if compare else ({}, None)
    names: dict[str, Any] = bridge.hook_dict
    by_point = {id(names[name]): found.get(site) for name, site in sites.items()}
    seen = _run_bridge(bridge, tokens, by_point if compare else None, AGREE_HALF if half else AGREE)
    widths, refused = dict[str, int](), dict[str, str]()
    for name, point in names.items():
        reason = _not_computed(name, seen[id(point)])
        if not reason:
            widths[name] = seen[id(point)].width
            reason = _not_neurons(name, names)
        if reason:
            refused[name] = reason
    agreeing = {name: site for name, site in sites.items() if not compare or seen[id(names[name])].agrees}
    return Probe(widths, refused, agreeing, logits is not None and _reads_ahead(plain, tokens, logits))


def _sequences(plain: nn.Module, bridge: Any) -> Tensor:
    """Make two sequences that begin alike, of a length that cannot be taken for a number of heads or neurons."""
    config: Any = plain.config
    settings = [*vars(config).values(), *vars(bridge.cfg).values()]
    sizes = {value for value in settings if isinstance(value, int)}
    fitting = [length for length in LENGTHS if length <= int(bridge.cfg.n_ctx)] or [1]
    length = next((n for n in fitting if n not in sizes and 2 * n not in sizes), fitting[0])
    first = torch.arange(length)
    second = torch.where(first < _alike(length), first, first + length)
    device = next(plain.parameters()).device
    return ((torch.stack([first, second]) * 97 + 5) % int(config.vocab_size)).to(device)


def _alike(length: int) -> int:
    """Count the tokens at the beginning that the two sequences share."""
    return (length + 1) // 2


def _run_modules(plain: nn.Module, sites: set[Site], tokens: Tensor) -> tuple[dict[Site, Any], Tensor]:
    """Run the model itself; return the value at each site, and the logits."""
    found: dict[Site, Any] = {}

    def keep(site: Site) -> Callable[[Any], None]:
        def hook(value: Any) -> None:
            found.setdefault(site, value)

        return hook

    with ExitStack() as stack:
        for site in sites:
            stack.callback(watch(plain, site, keep(site)).remove)
        return found, plain(tokens, use_cache=False).logits


def _run_bridge(bridge: Any, tokens: Tensor, found: Mapping[int, Any] | None, tolerance: float) -> dict[int, _Seen]:
    """Run the bridge, look at every hook point, and compare it with what its module gave, in `found`."""
    points = {id(point): point for point in bridge.hook_dict.values()}
    seen = {number: _Seen() for number in points}

    def look(number: int) -> Callable[..., None]:
        def hook(value: Any, hook: Any) -> None:
            at = seen[number]
            at.times += 1
            rows = per_position(value, tokens)
            if rows is None:
                at.wrong = shape_refusal(value)
                return
            at.width = rows.shape[-1]
            if found is None:
                return
            if value.shape[:2] != tokens.shape and _beginnings_differ(rows, 0.5):
                at.wrong = "its rows are not in the order of sequences and positions"
            expected = per_position(found.get(number), tokens)
            at.agrees = expected is not None and expected.shape == rows.shape and not _differ(expected, rows, tolerance)

        return hook

    # not by `bridge.hooks`, which refuses points behind a switch
    try:
        for number, point in points.items():
            point.add_hook(look(number))
        bridge(tokens, return_type="logits")
    finally:
        for point in points.values():
            point.remove_hooks("fwd")
    return seen


def _reads_ahead(plain: nn.Module, tokens: Tensor, logits: Tensor) -> bool:
    """Compare the logits of the two beginnings; where they differ, by more than rounding differs between rows."""
    if not _beginnings_differ(logits, AHEAD):
        return False
    same = plain(tokens[:1].expand(2, -1), use_cache=False).logits
    difference, noise = (_beginnings(values) for values in (logits, same))
    return bool((difference > AHEAD * logits.float().norm() + NOISE * noise).item())


def _beginnings(values: Tensor) -> Tensor:
    alike = _alike(values.shape[1])
    return (values[0, :alike] - values[1, :alike]).float().norm()


def _differ(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return bool(((one - other).float().norm() > tolerance * one.float().norm()).item())


def _beginnings_differ(values: Tensor, tolerance: float) -> bool:
    """Compare the two sequences at the positions where their tokens and all before them are equal."""
    alike = _alike(values.shape[1])
    return _differ(values[0, :alike], values[1, :alike], tolerance)


def _not_computed(name: str, seen: _Seen) -> str:
    if seen.wrong:
        return seen.wrong
    if seen.times == 1:
        return ""
    if seen.times > 1:
        return f"the model computes it {seen.times} times in a pass"
    instead = BEHIND_SWITCHES.get(name.rpartition(".")[2])
    if instead is not None:
        return f"TransformerLens computes it only behind a switch, which stays off; {instead}"
    return "the model computes no such value in a plain forward pass"


def _not_neurons(name: str, points: Mapping[str, Any]) -> str:
    """Say so where TransformerLens gives the name of an MLP's neurons to its input or output."""
    for inside, outside in (("hook_pre", "hook_in"), ("hook_post", "hook_out")):
        whole = name.removesuffix(inside) + outside
        if name.endswith(f".{inside}") and points.get(whole) is points[name]:
            return (
                f"the MLP there has no neurons that every token uses (a mixture of experts), and {name} would be "
                f"{whole}; name that one"
            )
    return ""
