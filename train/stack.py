"""Train dictionaries of one shape together, as a stack.

Their parameters, optimiser moments and counters are views into stacked tensors, [learner, …]: one batched product
encodes for all of them, the sparse work is done over all their rows at once, and one fused Adam moves them. Learners
may differ in sparsity, seed, initialisation, learning rate and its schedule; they share whatever else a step needs.

A learner sees what it would see alone, and nothing is summed across learners: one that turns to NaN does not affect the
others. Its numbers are those of the dictionary trained alone to 1e-5 per step, since a stack may take products and sums
in another order; a stack of one takes exactly the steps of a dictionary alone.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.optim.adam import adam

from train.architectures import Parameters, Step, StepContext, architecture_of, kind_of
from train.kernels import sparse
from train.kernels.sparse import Listed
from train.learner import Learner
from train.schedule import dead_after
from train.settings import GAUSSIAN_ROWS

BETAS = (0.9, 0.999)
EPSILON = 1e-8
CACHED_LATENTS = 2**18  # rows x latents of a stack's step that fit in a core's caches
LAUNCHED_LATENTS = 2**28  # rows x latents beyond which a GPU's launches cost nothing beside its work, and memory counts


class Stack:
    """Learners that are at the same row; their tensors become views into the stack's."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = list(learners)
        first = self.learners[0]
        architecture = architecture_of(*(learner.objective for learner in self.learners))
        self.architecture = dataclasses.replace(architecture, collectives=first.architecture.collectives)
        self.rows = first.rows
        self.parameters: Parameters = _share([learner.parameters for learner in self.learners])
        # Adam's running averages of the gradient and of its square
        self.averages: Parameters = _share([learner.averages for learner in self.learners])
        self.squares: Parameters = _share([learner.squares for learner in self.learners])
        self.silent_rows = _stack([learner.silent_rows for learner in self.learners])  # [learner, n]
        self.sums = _stack([learner.sums for learner in self.learners])  # [learner, quantity]
        for number, learner in enumerate(self.learners):
            learner.silent_rows, learner.sums = self.silent_rows[number], self.sums[number]
        self.frozen = {  # parameter -> numbers of the learners that keep theirs
            name: [i for i, learner in enumerate(self.learners) if name in learner.planned.settings.frozen]
            for name in ("W_enc", "W_dec")
        }
        self.gaussian = first.planned.settings.control == GAUSSIAN_ROWS
        self.gradient_norms = tuple(learner.planned.settings.gradient_norm for learner in self.learners)
        self.noise = tuple(learner.planned.settings.noise or 0.0 for learner in self.learners)
        self.steps = {name: torch.full((), float(first.steps), device=self.sums.device) for name in self.averages}

    @torch.no_grad()
    def train_on(
        self, x: Float[Tensor, "row d"], variance: Float[Tensor, ""], noise: Float[Tensor, "row d"] | None = None
    ) -> None:
        """Take one step on rows `x`, whose squared distance from the mean activation is `variance`.

        noise: normal, of the activations' standard deviation; denoising learners see it, each at its own level.
        """
        start, self.rows = self.rows, self.rows + len(x)
        first = self.learners[0]
        dead = self.silent_rows >= dead_after(first.planned.settings, self.rows)
        seen = None
        if any(self.noise):
            assert noise is not None
            seen = x + sparse.on_device(self.noise, x.dtype, x.device).view(-1, 1, 1) * noise
        context = StepContext(first.schedule.penalty(self.rows), dead, seen)
        step = self.architecture.step(self.parameters, x, context)
        self._descend(step, start)
        self.silent_rows.add_(len(x)).masked_fill_(step.fired, 0)
        loss = step.loss * len(x)
        rows = torch.full_like(loss, len(x))
        self.sums += torch.stack(
            [rows, loss, step.squared_error, step.active.to(loss), variance.to(loss).expand_as(loss)], dim=1
        ).double()
        for learner in self.learners:
            learner.rows, learner.steps = self.rows, learner.steps + 1

    def _descend(self, step: Step, start: int) -> None:
        """Move the parameters against their gradients; decoder directions keep their norm."""
        if any(self.frozen.values()) or any(self.gradient_norms):
            step = step.summed()
        g, W_dec = step.gradients, self.parameters["W_dec"]
        for name, numbers in self.frozen.items():
            if numbers:
                g[name][numbers] = 0  # Adam's averages stay zero, and so does every step
        if "W_dec" in g:
            # the norm of a decoder row is fixed: remove the part of its gradient that would change it
            g["W_dec"].addcmul_(torch.linalg.vecdot(g["W_dec"], W_dec).unsqueeze(-1), W_dec, value=-1)
        self._clip(g)
        rates = [learner.learning_rate(start, self.rows) for learner in self.learners]
        alike = []  # learners of one rate move together
        for rate, group in itertools.groupby(rates):
            first = alike[-1][1].stop if alike else 0
            alike.append((rate, slice(first, first + len(list(group)))))
        for name, listed in step.lists.items():
            self._descend_by_kernel(name, listed, alike)
        self._descend_by_torch(g, alike)
        if "W_dec" not in g:
            pass  # the kernel keeps their norm
        elif self.frozen["W_dec"]:  # which normalising again might change in the last bit
            for number in set(range(len(W_dec))).difference(self.frozen["W_dec"]):
                F.normalize(W_dec[number], dim=-1, out=W_dec[number])
        else:
            F.normalize(W_dec, dim=-1, out=W_dec)
        self.architecture.project(self.parameters)

    def _descend_by_torch(self, g: Parameters, alike: Sequence[tuple[float, slice]]) -> None:
        """Take Adam's step with the gradients that are summed; `alike`: learners and their rate."""
        names = [name for name in self.averages if name in g]
        for rate, these in alike:
            # Adam counts the steps in place: let it do so once for all learners
            steps = [self.steps[name] for name in names]
            if (rate, these) != alike[-1]:
                steps = [step.clone() for step in steps]
            adam(
                [self.parameters[name][these] for name in names],
                [g[name][these] for name in names],
                [self.averages[name][these] for name in names],
                [self.squares[name][these] for name in names],
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate,
                weight_decay=0.0,
                eps=EPSILON,
                maximize=False,
            )

    def _descend_by_kernel(self, name: str, listed: Listed, alike: Sequence[tuple[float, slice]]) -> None:
        """Sum a weight's gradient and take Adam's step in one pass over the weight."""
        from train.kernels.update import Adam, descend

        self.steps[name] += 1
        how = Adam(BETAS, EPSILON, self.learners[0].steps + 1, alike)
        descend(listed, self.parameters[name], self.averages[name], self.squares[name], how, unit=name == "W_dec")

    def _clip(self, g: Parameters) -> None:
        """Shorten each learner's gradient to its greatest norm, over all its parameters and ranks."""
        if not any(self.gradient_norms):
            return
        squares = {name: torch.linalg.vector_norm(g[name].flatten(1), dim=1).square_() for name in self.averages}
        whole = squares.pop("b_dec", 0)  # every rank has all of it
        norm = (self.architecture.collectives.all_reduce(torch.stack(list(squares.values())).sum(0)) + whole).sqrt_()
        bounds = sparse.on_device(self.gradient_norms, norm.dtype, norm.device)
        factor = torch.where(bounds > 0, bounds / norm, 1).clamp_(max=1)
        for name in self.averages:
            g[name].mul_(factor.view(-1, *[1] * (g[name].ndim - 1)))


def stack_learners(learners: Sequence[Learner]) -> list[Stack]:
    """Stack learners of one shape, the largest first, so that no core waits for one that started late.

    On a GPU, where small steps cost mostly kernel launches, a stack has up to 1 GiB of float32 pre-activations. On a
    CPU, whose cores train several stacks in parallel (train/cores.py), it has only as many learners as fit in a core's
    caches. Measured on one core, the time of a stack of eight over that of the eight one by one, by architecture:
    256 rows x 128 latents 0.55 to 1.1, 256 x 512 0.7 to 1, 1024 x 512 0.85 to 1.3, 2048 x 1024 0.9 to 1.7.
    """
    shapes: dict[object, list[Learner]] = {}
    for learner in learners:
        shapes.setdefault(_shape(learner), []).append(learner)
    stacks = []
    for alike in shapes.values():
        alike.sort(key=lambda learner: learner.planned.settings.learning_rate)
        size = _size_of_stack(alike)
        stacks += [Stack(alike[start : start + size]) for start in range(0, len(alike), size)]
    return sorted(stacks, key=lambda stack: -stack.parameters["W_dec"].numel())


def _size_of_stack(alike: Sequence[Learner]) -> int:
    first = alike[0]
    if first.architecture.collectives.ranks > 1:
        return 1
    latents = first.planned.settings.batch_rows * len(first.silent_rows)
    if sparse.asynchronous(first.sums):
        return max(1, min(len(alike), LAUNCHED_LATENTS // latents))
    share = -(-len(alike) // torch.get_num_threads())  # so that every core has one
    return max(1, min(share, CACHED_LATENTS // latents))


def _shape(learner: Learner) -> object:
    """Return what learners must have in common to be stacked."""
    settings = learner.planned.settings
    start = (learner.rows, learner.steps, learner.schedule.warmup_rows, dead_after(settings, 0))
    return (kind_of(settings), *learner.parameters["W_dec"].shape, *start)


def _share(parts: Sequence[Parameters]) -> Parameters:
    """Stack each tensor of the learners, and replace the tensors by views into the stack."""
    stacked = {name: _stack([part[name] for part in parts]) for name in parts[0]}
    for number, part in enumerate(parts):
        part.update({name: whole[number] for name, whole in stacked.items()})
    return stacked


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))
