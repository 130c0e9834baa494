"""The forward pass as one compiled graph, up to the last hook: `harvest.compile = true`.

The graph includes the hooks, and the compiler drops whatever no result depends on: the layers after the last hook,
the final normalisation, the logits. One shape is compiled; a shorter batch, the last of a shard, is padded. Compiling
takes a minute, and needs a C++ compiler on a CPU, Triton on a GPU.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, rows_of
from winnow.model.sites import watch


class CompiledModel:
    """Computes the activations of fixed hooks for batches of a fixed size.

    Raises `UserError` for hooks that only TransformerLens' bridge can serve.
    """

    def __init__(self, model: LanguageModel, hooks: Sequence[str], sequences: int) -> None:
        inside = [name for name in hooks if name not in model.sites]
        if inside:
            raise UserError(
                f"harvest.compile: {', '.join(inside)} lies inside a module and cannot be compiled; leave it out, or "
                "set harvest.compile to false"
            )
        self.device = model.device
        self._hooks = hooks
        self._sequences = sequences
        self._compiled = torch.compile(_traceable(model, hooks), dynamic=False, fullgraph=True)

    @torch.no_grad()
    def activations(
        self, tokens: Int[Tensor, "sequence context"], hooks: Sequence[str]
    ) -> dict[str, Float[Tensor, "sequence context width"]]:
        """Return what `LanguageModel.activations` returns, for at most the number of sequences compiled for.

        Raises `UserError` if the compiler fails.
        """
        assert list(hooks) == list(self._hooks), hooks
        count = len(tokens)
        full = F.pad(tokens.to(self.device).long(), (0, 0, 0, self._sequences - count))
        try:
            seen = self._compiled(full)
        except RuntimeError as error:  # several compilers raise it
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"harvest.compile: torch.compile failed ({reason}); set harvest.compile to false"
            ) from error
        return {name: seen[name][:count] for name in hooks}


def _traceable(model: LanguageModel, hooks: Sequence[str]) -> Callable[[Tensor], dict[str, Tensor]]:
    """Hook a replica permanently: a pass then registers no hooks and raises nothing, so it can be traced."""
    plain = model.replica().plain
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Tensor], None]:
        def hook(value: Tensor) -> None:
            seen[name] = value

        return hook

    for name in hooks:
        watch(plain, model.sites[name], keep(name))

    def forward(tokens: Tensor) -> dict[str, Tensor]:
        seen.clear()
        plain(tokens, use_cache=False)
        return {name: rows_of(name, value, tokens) for name, value in seen.items()}

    return forward
