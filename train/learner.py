"""One dictionary in training: its parameters, its optimiser's moments, its counters.

A stack (train/stack.py), of this dictionary alone or of several, takes the steps; the tensors here are then views into
the stack's.
"""

import math
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from train.architectures import Parameters, architecture_of
from train.architectures.registry import in_training_units
from train.convergence import Convergence
from train.plan import Planned
from train.schedule import dead_after, schedule_of
from winnow.dictionary import Dictionary
from winnow.errors import UserError
from winnow.massive.kept import KeptRows


class Sums(NamedTuple):
    """Sums over the rows since the last point of the curve."""

    rows: float
    loss: float  # times rows
    squared_error: float
    active: float
    variance: float  # squared distance of the rows from the mean activation


class Learner:
    """A dictionary of a sweep. Its state is a pure function of its settings and of the rows it has seen."""

    def __init__(
        self,
        planned: Planned,
        parameters: Parameters,
        device: torch.device,
        held_out_rows: int,
        scale: float = 1.0,  # of the activations; a penalty in their own units depends on it
    ) -> None:
        settings = planned.settings
        self.planned = planned
        self.objective = in_training_units(settings, parameters["W_dec"].shape[1], scale)
        self.architecture = architecture_of(self.objective)
        self.schedule = schedule_of(settings)
        # frozen directions cannot leave their start, which the rule of convergence would hold against them
        start = None if "W_dec" in settings.frozen else parameters["W_dec"].clone()
        self.convergence = Convergence(settings, held_out_rows, start)
        self.architecture.add_parameters(parameters)
        self.parameters: Parameters = {name: value.to(device) for name, value in parameters.items()}
        fixed = (*self.architecture.buffers, *(["b_dec"] if settings.b_dec == "none" else []))
        descended = [name for name in self.parameters if name not in fixed]
        # Adam's running averages of the gradient and of its square
        self.averages: Parameters = {name: torch.zeros_like(self.parameters[name]) for name in descended}
        self.squares: Parameters = {name: torch.zeros_like(self.parameters[name]) for name in descended}
        self.steps = 0
        n_latents = len(self.parameters["W_dec"])
        self.rows = 0
        self.silent_rows = torch.zeros(n_latents, dtype=torch.int64, device=device)  # since each latent fired
        self.sums = torch.zeros(len(Sums._fields), dtype=torch.float64, device=device)
        self.resampled = 0  # latents since the last point of the curve (train/resample.py)
        self._clock = time.perf_counter()

    @property
    def dead(self) -> Bool[Tensor, " n"]:
        """The latents that have not fired for long enough to count as dead."""
        return self.silent_rows >= dead_after(self.planned.settings, self.rows)

    @property
    def ended(self) -> bool:
        """Whether every row of the schedule has been seen."""
        return self.rows >= self.schedule.rows

    def learning_rate(self, start: int, stop: int) -> float:
        """Return the rate of the step that takes rows [start, stop)."""
        return self.planned.settings.learning_rate * self.schedule.rate(start, stop)

    def estimate_buffers(self, batches: Iterable[Float[Tensor, "row d"]]) -> None:
        """Estimate again, with the weights as they are, what follows the batches: a threshold."""
        stacked = {name: value.unsqueeze(0) for name, value in self.parameters.items()}
        for name in self.architecture.buffers:
            stacked[name].zero_()
        for x in batches:
            self.architecture.follow_rows(stacked, x)

    def take_sums(self) -> Sums:
        """Return the sums since the last call, and reset them."""
        sums = Sums(*self.sums.tolist())
        self.sums.zero_()
        return sums

    def point(self, sums: Sums, scale: float) -> dict[str, int | float]:
        """Compose a point of the curve from `sums`; `scale` is the factor that was applied to the activations."""
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        resamples = bool(self.planned.settings.resample_rows)
        collectives = self.architecture.collectives
        revived = {"resampled": self.resampled / len(self.silent_rows) / collectives.ranks} if resamples else {}
        self.resampled = 0
        dead = float(collectives.all_reduce(self.dead.double().mean())) / collectives.ranks
        return {
            "rows": self.rows,
            "loss": sums.loss / sums.rows,
            "mse": sums.squared_error / sums.rows / scale**2,
            "fvu": sums.squared_error / sums.variance,
            "l0": sums.active / sums.rows,
            "dead": dead,
            **revived,
            "rows_per_second": round(sums.rows / seconds, 1),
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Collect the tensors and numbers from which `load_state` resumes with the same bits."""
        tensors = {"silent_rows": self.silent_rows, "sums": self.sums}
        tensors |= self.parameters
        tensors |= {f"adam.{name}.exp_avg": value for name, value in self.averages.items()}
        tensors |= {f"adam.{name}.exp_avg_sq": value for name, value in self.squares.items()}
        copies, rule = self.convergence.state()
        settings = self.planned.settings.to_json()
        numbers = {"rows": self.rows, "steps": self.steps, "settings": settings, "convergence": rule}
        return tensors | copies, numbers | {"resampled": self.resampled}

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.rows, self.steps, self.resampled = numbers["rows"], int(numbers["steps"]), numbers["resampled"]
        self.silent_rows.copy_(tensors["silent_rows"])
        self.sums.copy_(tensors["sums"])
        for name, value in self.parameters.items():
            value.copy_(tensors[name])
        for name, value in self.averages.items():
            value.copy_(tensors[f"adam.{name}.exp_avg"])
            self.squares[name].copy_(tensors[f"adam.{name}.exp_avg_sq"])
        self.convergence.load_state(tensors, numbers["convergence"], self.silent_rows.device)
        if self.convergence.ends is not None:
            self.schedule = self.schedule.ending(self.convergence.ends)

    def dictionary(self, scale: float) -> Dictionary:
        """Return the dictionary of unscaled activations: `scale` is folded into its weights."""
        tensors: dict[str, Any] = self.architecture.folded(self.parameters, scale)
        settings = self.planned.settings
        return Dictionary(
            **tensors,
            architecture=settings.architecture,
            k=settings.k if settings.architecture == "topk" else None,
            hook=self.planned.hook,
            path=self.planned.folder,
        )


class Scaling(NamedTuple):
    """Dictionaries are trained on x * scale: of mean norm sqrt(d_model), or x as it is where scale = 1.

    A coefficient then means the same at every hook. The scale is folded into the weights before they are saved.
    """

    scale: float
    mean: Tensor  # [d] of the scaled activations


def scaling_of(kept: KeptRows, scales: bool = True) -> Scaling:
    """Compute scale and mean from the harvest's statistics; the scale is 1 if `scales` is false.

    Raises `UserError` if all activations are zero.
    """
    if kept.mean_norm == 0:
        raise UserError(f"{kept.path}: the activations at {kept.hook} are all zero; choose another hook")
    scale = math.sqrt(len(kept.mean)) / kept.mean_norm if scales else 1.0
    return Scaling(scale, torch.from_numpy(kept.mean * scale).float())
