"""What an experiment looks at: a model, its rows, and their values at every hook.

    subject.hook_input(2)      # what layer 2's MLP reads at every row, [row, d]
    subject.pre(2)             # its pre-activations, whose signs are the code
    subject.twin               # the same rows read by the model with random weights; None where that is switched off

Values are float32 on the CPU. Those of one hook are read in one pass over the text, together with the same hook of the
other layers, and kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from polytopes.reading.places import Places, choose_places
from polytopes.reading.rows import Rows, read_rows
from polytopes.reading.untrained import untrained_twin
from polytopes.reading.values import read_tokens, read_values
from winnow.config.positions import PositionPolicy
from winnow.errors import UserError
from winnow.model.language_model import LanguageModel
from winnow.model.mlp import read_mlp, residual_hook
from winnow.polytope_files import ROWS_FILE
from winnow.runtime.run import Run
from winnow.spline.codes import unpack
from winnow.spline.mlp import MLP
from winnow.tokens import TokenFile


def usual_hooks(model: LanguageModel, layers: Sequence[int]) -> list[str]:
    """List what MLPs read, before and behind their norms: most experiments need both, so they are read together."""
    return [hook for layer in layers for hook in (f"blocks.{layer}.mlp.hook_in", residual_hook(model, layer))]


@dataclass(frozen=True)
class Subject:
    """A model and the rows at which it is looked at.

    first_held_out: the sequences from it on were never harvested. seed: of everything that is drawn. experiments: those
    that the run makes.
    """

    model: LanguageModel
    layers: tuple[int, ...]
    tokens: TokenFile
    first_held_out: int
    rows: Rows
    positions: PositionPolicy
    run: Run
    seed: int
    experiments: Sequence[str] = ()
    untrained: bool = True
    is_twin: bool = False
    _values: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def twin(self) -> "Subject | None":
        """The untrained twin at the same rows, with the model's own labels; None where it is switched off."""
        if self.is_twin or not self.untrained:
            return None
        return replace(self, model=untrained_twin(self.model, self.seed), is_twin=True, _values={})

    def mlp(self, layer: int) -> MLP:
        """Give a layer's MLP, checked against the model."""
        return read_mlp(self.model, layer)

    def values(self, hook: str) -> Float[Tensor, "row width"]:
        """Give the values of a hook at every row."""
        if hook not in self._values:
            together = self._read_with(hook)
            self._values.update(self.read(self.rows.places, together))
        return self._values[hook]

    def _read_with(self, hook: str) -> list[str]:
        """List the hooks that are read in one pass with this one: those of the other layers."""
        usual = usual_hooks(self.model, self.layers)
        point = hook.removeprefix("blocks.").partition(".")[2]
        same = [f"blocks.{layer}.{point}" for layer in self.layers] if point else []
        wanted = usual if hook in usual else [hook, *same]
        return [name for name in dict.fromkeys(wanted) if name not in self._values]

    def hook_input(self, layer: int) -> Float[Tensor, "row d"]:
        """Give what the layer's MLP reads, `mlp.hook_in`."""
        return self.values(f"blocks.{layer}.mlp.hook_in")

    def residual(self, layer: int) -> Float[Tensor, "row d"]:
        """Give what the layer's norm reads: `hook_resid_mid`, or `hook_resid_pre` in parallel blocks."""
        return self.values(residual_hook(self.model, layer))

    @torch.no_grad()
    def pre(self, layer: int) -> Float[Tensor, "row n"]:
        """Compute the pre-activations, `mlp.hook_pre`."""
        return self.mlp(layer).pre(self.hook_input(layer)).cpu()

    @torch.no_grad()
    def hidden(self, layer: int) -> Float[Tensor, "row n"]:
        """Compute the activations behind the gate, `mlp.hook_post`."""
        return self.mlp(layer).post(self.hook_input(layer)).cpu()

    @torch.no_grad()
    def output(self, layer: int) -> Float[Tensor, "row d"]:
        """Compute what the MLP writes, `hook_mlp_out`."""
        return self.mlp(layer)(self.hook_input(layer)).cpu()

    def soft_code(self, layer: int) -> Float[Tensor, "row n"]:
        """Compute how far each neuron is on, in [0, 1]."""
        return self.mlp(layer).gate.code(self.pre(layer))

    def code(self, layer: int) -> Bool[Tensor, "row n"]:
        """Give the on/off bits; of the model itself those stored with the rows."""
        if self.is_twin:
            return self.pre(layer) > 0
        return unpack(self.rows.codes[:, self.rows.layers.index(layer)], self.rows.neurons)

    def read(self, places: Places, hooks: Sequence[str]) -> dict[str, Float[Tensor, "row width"]]:
        """Read the values of hooks at any places, in one pass over the sequences that hold them."""
        return read_values(self.model, self.tokens, places, hooks)

    def text(self, sequences: Sequence[int] | np.ndarray) -> Int[Tensor, "sequence context"]:
        """Read the tokens of some sequences."""
        return read_tokens(self.tokens, sequences)

    def tokens_up_to(self, row: int) -> Int[Tensor, " position"]:
        """Read the text up to a row, its own token included, as `open_position` takes it."""
        sequence, position = int(self.rows.places.sequence[row]), int(self.rows.places.position[row])
        return self.text([sequence])[0, : position + 1]

    def harvested(self, count: int, key: str) -> Places:
        """Choose places in harvested sequences, spread evenly over them, at the same kind of positions as the rows.

        Raises `UserError` naming the setting `key` where there are fewer.
        """
        sequences = np.arange(self.first_held_out)
        return choose_places(self.tokens, self.shuffled(sequences, key), self.positions, count, self.seed, key)

    def held_out(self) -> Bool[Tensor, " row"]:
        """Mark the rows that come from held-out sequences."""
        return self.rows.places.sequence >= self.first_held_out

    def shuffled(self, values: np.ndarray, *purpose: str) -> np.ndarray:
        """Give the values in an order drawn for this purpose."""
        return self.random(*purpose).permutation(values)

    def random(self, *purpose: str) -> np.random.Generator:
        """Give a generator of its own for each purpose, such as ("density", "post:2")."""
        return np.random.default_rng([self.seed, *"/".join(purpose).encode()])

    def choose(self, count: int, *purpose: str) -> Int[Tensor, " chosen"]:
        """Draw rows without repetition for a purpose, ascending; all where there are fewer."""
        drawn = self.random(*purpose).permutation(len(self.rows))[:count]
        return torch.from_numpy(np.sort(drawn))

    def hooks(self, patterns: Sequence[str], key: str) -> list[str]:
        """Expand `blocks.*.…` to the layers looked at.

        Raises `UserError` naming the setting `key` for a hook that no module of the model serves.
        """
        expanded: list[str] = []
        for pattern in patterns:
            expanded += [pattern.replace("*", str(layer)) for layer in self.layers] if "*" in pattern else [pattern]
        for hook in expanded:
            if hook.endswith(".hook_resid_mid"):
                raise UserError(
                    f"{key} = {hook}: the module there reads a copy of the residual stream, which goes on unchanged; "
                    "take hook_resid_pre or hook_resid_post"
                )
            if hook not in self.model.sites:
                raise UserError(
                    f"{key} = {hook}: no module of this model has it as its input or output; "
                    "python -m winnow.model.hooks --config FILE lists all"
                )
        return list(dict.fromkeys(expanded))

    def clusters(self) -> Mapping[str, Int32[Tensor, " row"]]:
        """Give the clusters of every clustering that the experiment `clusters` made, by its name; −1: in none.

        Empty where it was not made. Rows that were not clustered have the cluster of their nearest member.
        """
        return read_rows(self.run.polytopes / ROWS_FILE).clusters if "clusters" in self.experiments else {}
