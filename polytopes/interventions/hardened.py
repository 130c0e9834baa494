"""Put π(ηh) in the place of a gate's π(h), in any layers, while a model runs."""

from collections.abc import Callable, Sequence

from torch import Tensor

from polytopes.reading.subject import Subject
from winnow.spline.mlp import MLP

Watcher = Callable[[Tensor], Tensor | None]


def hardened(subject: Subject, layers: Sequence[int], sharpness: float) -> dict[str, Watcher]:
    """Give what `LanguageModel.run` watches so that these layers have gates h^power·π(ηh), all else as it is."""
    watched: dict[str, Watcher] = {}
    for layer in layers:
        watched |= _of_layer(subject.mlp(layer), f"blocks.{layer}.mlp", sharpness)
    return watched


def _of_layer(mlp: MLP, prefix: str, sharpness: float) -> dict[str, Watcher]:
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Watcher:
        def hook(value: Tensor) -> None:
            seen[name] = value

        return hook

    def replace(post: Tensor) -> Tensor:
        h = seen["pre"].to(mlp.W_in.dtype)
        active = h**mlp.gate.power * mlp.gate.weight(h, sharpness)
        return (active * mlp.value(seen["in"]) if mlp.is_gated else active).to(post)

    watched = {f"{prefix}.hook_pre": keep("pre"), f"{prefix}.hook_post": replace}
    return {f"{prefix}.hook_in": keep("in"), **watched} if mlp.is_gated else watched
