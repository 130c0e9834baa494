"""Hook points that are the input or the output of one module of the Hugging Face model, and functions called there.

sites = find_sites(bridge, modules)
watch(plain, sites["blocks.2.hook_resid_post"], print)      # called with the value in every pass
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn


class Site(NamedTuple):
    """A hook point as a place in the Hugging Face model: a module's first input, or its output."""

    module: str  # its path, as `nn.Module.get_submodule` takes it
    side: Literal["in", "out"]


def find_sites(bridge: Any, modules: Mapping[int, str]) -> dict[str, Site]:
    """Find the hook points, aliases included, that are an input or output of a Hugging Face module.

    modules: the path of each module by its id.
    """
    by_point: dict[int, Site] = {}
    for component in bridge.modules():
        path = modules.get(id(getattr(component, "original_component", None)))
        if path is not None:
            for side in ("in", "out"):
                point = getattr(component, f"hook_{side}", None)
                if point is not None:
                    by_point[id(point)] = Site(path, side)
    return {name: by_point[id(point)] for name, point in bridge.hook_dict.items() if id(point) in by_point}


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
