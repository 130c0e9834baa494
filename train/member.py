"""One dictionary in training: its parameters, its optimiser, its counters."""

import time
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from train.architectures import Moment, Parameters, architecture_of
from train.plan import Planned
from train.schedule import Schedule
from winnow.dictionary import Dictionary

DEAD_AFTER_ROWS = 10_000_000  # Gao et al. 2024


class Sums(NamedTuple):
    """What has been added up since the last point of the curve."""

    rows: float
    loss: float  # times rows
    squared_error: float
    active: float
    variance: float  # squared distance of the rows from the mean activation


class Member:
    """A dictionary of a sweep. Its state is a pure function of its settings and of the rows it has seen."""

    def __init__(self, planned: Planned, parameters: Parameters, device: torch.device) -> None:
        settings = planned.settings
        self.planned = planned
        self.architecture = architecture_of(settings)
        self.schedule = Schedule(rows=settings["rows"], warmup=settings["warmup"], decay=settings["decay"])
        self.architecture.add_parameters(parameters)
        self.parameters: Parameters = {name: value.to(device) for name, value in parameters.items()}
        self.optimizer = torch.optim.Adam(list(self._descended().values()), lr=settings["learning_rate"], fused=True)
        n_latents = len(self.parameters["W_dec"])
        self.rows = 0
        self.silent_rows = torch.zeros(n_latents, dtype=torch.int64, device=device)  # since each latent fired
        self.sums = torch.zeros(len(Sums._fields), dtype=torch.float64, device=device)
        self.dead_after = min(DEAD_AFTER_ROWS, settings["rows"] // 10)
        self._clock = time.perf_counter()

    @torch.no_grad()
    def train_on(self, x: Float[Tensor, "row d"], variance: Float[Tensor, ""]) -> None:
        """Take one step on rows `x`, whose squared distance from the mean activation is `variance`."""
        start, self.rows = self.rows, self.rows + len(x)
        p = self.parameters
        moment = Moment(self.schedule.penalty(self.rows), self.silent_rows >= self.dead_after)
        step = self.architecture.step(p, x, moment)
        g = step.gradients
        # the norm of a decoder row is fixed: what would change it is taken out of its gradient
        g["W_dec"].addcmul_(torch.linalg.vecdot(g["W_dec"], p["W_dec"]).unsqueeze(1), p["W_dec"], value=-1)
        for name, value in self._descended().items():
            value.grad = g[name]
        rate = self.schedule.rate(start, self.rows)
        self.optimizer.param_groups[0]["lr"] = self.planned.settings["learning_rate"] * rate
        self.optimizer.step()
        F.normalize(p["W_dec"], dim=1, out=p["W_dec"])
        self.architecture.project(p)
        self.silent_rows.add_(len(x)).masked_fill_(step.fired, 0)
        rows = torch.full_like(variance, len(x))
        self.sums += torch.stack([rows, step.loss * len(x), step.squared_error, step.active, variance]).double()

    def take_sums(self) -> Sums:
        """Give what was added up since the last call."""
        sums = Sums(*self.sums.tolist())
        self.sums.zero_()
        return sums

    def point(self, sums: Sums, scale: float) -> dict[str, int | float]:
        """Describe the rows behind `sums` as a point of the curve; `scale` was applied to the activations."""
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return {
            "rows": self.rows,
            "loss": sums.loss / sums.rows,
            "mse": sums.squared_error / sums.rows / scale**2,
            "fvu": sums.squared_error / sums.variance,
            "l0": sums.active / sums.rows,
            "dead": float((self.silent_rows >= self.dead_after).double().mean()),
            "rows_per_second": round(sums.rows / seconds, 1),
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Collect tensors and numbers from which `load_state` goes on to equal bits."""
        tensors = {"silent_rows": self.silent_rows, "sums": self.sums}
        steps = 0.0
        for name, value in self.parameters.items():
            tensors[name] = value
        for name, value in self._descended().items():
            adam = self.optimizer.state[value]
            tensors[f"adam.{name}.exp_avg"] = adam["exp_avg"]
            tensors[f"adam.{name}.exp_avg_sq"] = adam["exp_avg_sq"]
            steps = float(adam["step"])
        return tensors, {"rows": self.rows, "steps": steps, "settings": self.planned.settings}

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.rows = numbers["rows"]
        self.silent_rows.copy_(tensors["silent_rows"])
        self.sums.copy_(tensors["sums"])
        for name, value in self.parameters.items():
            value.copy_(tensors[name])
        for name, value in self._descended().items():
            self.optimizer.state[value] = {
                "step": torch.tensor(numbers["steps"]),
                "exp_avg": tensors[f"adam.{name}.exp_avg"].to(value.device),
                "exp_avg_sq": tensors[f"adam.{name}.exp_avg_sq"].to(value.device),
            }

    def dictionary(self, scale: float) -> Dictionary:
        """Fold the activations' scale into the weights: latents and reconstruction come out in their own units."""
        tensors: dict[str, Any] = self.architecture.folded(self.parameters, scale)
        settings = self.planned.settings
        return Dictionary(
            **tensors,
            architecture=settings["architecture"],
            k=settings["k"] if settings["architecture"] == "topk" else None,
            hook=self.planned.hook,
            path=self.planned.folder,
        )

    def _descended(self) -> Parameters:
        return {name: value for name, value in self.parameters.items() if name not in self.architecture.buffers}
