"""Train all dictionaries of a hook in one pass over its activations.

Every batch is read, scaled and moved to the device once, and each dictionary takes a step on it.
"""

import json
import math
import sys
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.checkpoint import begin, drop_checkpoints, drop_leftovers, group_by_start, read_checkpoint, write_checkpoint
from train.cores import Each, side_by_side
from train.curve import append_point, cut_curve
from train.display import display
from train.evaluation import Evaluation, HeldOut, evaluate, evaluated_rows, first_held_out
from train.learner import Member, scaling_of
from train.loader import Loader
from train.loggers import check_loggers, open_loggers
from train.plan import FAILED, Planned, rows_between_logs
from train.provenance import metadata, provenance
from train.resample import resample, resample_due
from train.schedule import rows_at_end
from train.signals import Stop, stop_on_signals
from train.snapshots import snapshot_due, written_behind
from train.stack import Stack, stack_members
from train.start.initialise import SAMPLE_ROWS, first_parameters
from winnow.config.experiment import Experiment, Train
from winnow.dictionary import save_dictionary
from winnow.errors import UserError
from winnow.model.output_weights import output_weights
from winnow.runtime.device import choose_device
from winnow.runtime.publish import publish_text
from winnow.runtime.ranks import Ranks
from winnow.runtime.stage import Interrupted
from winnow.store import ActivationStore


def train_all(config: Experiment, activations: Path, planned: list[Planned], ranks: Ranks) -> None:
    """Train every planned dictionary to its end, hook by hook.

    ranks: of the job; by its rank a process knows its GPU. Raises `UserError` where the harvest is not finished,
    `Interrupted` once a signal's state is saved.
    """
    store = finished_store(activations)
    check_loggers(config.train.loggers)
    device = choose_device(config.model.device, ranks, mps=False)  # whose sums lack float64
    with stop_on_signals() as stop:
        for hook in dict.fromkeys(p.hook for p in planned):
            for start, group in group_by_start(p for p in planned if p.hook == hook):
                _Sweep(config, store, hook, group, start, device).run(stop)


def finished_store(activations: Path) -> ActivationStore:
    """Open a store. Raises `UserError` where the harvest is not finished."""
    store = ActivationStore(activations)
    if not store.complete:
        raise UserError(f"{activations}: the harvest is not finished; run make harvest")
    return store


class _Sweep:
    """The dictionaries of one hook that stand at the same row."""

    speaks = True  # writes the curve, and shows how it goes; where several processes share a dictionary, one does

    def __init__(
        self,
        config: Experiment,
        store: ActivationStore,
        hook: str,
        planned: list[Planned],
        start: int,
        device: torch.device,
    ) -> None:
        self.config: Train = config.train
        self.run_folder = Path(config.run)
        self.model = config.model
        self.store = store
        self.hook = hook
        self.rows = start
        self.device = device
        self.logs = rows_between_logs(config.train)
        self.scaling = scaling_of(store, hook, config.train.scale_activations)
        self.mean = self.scaling.mean.to(device)
        trained = first_held_out(store, config.train.held_out_rows)
        evaluated = range(trained, trained + evaluated_rows(planned[0].settings, store.rows - trained))
        self.held_out = HeldOut(store, hook, evaluated, config.train.batch_rows, self._prepare)
        self.loader = Loader(store, hook, config.seed, config.train.window_mib * 2**20, trained)
        self.failing: dict[Member, float] = {}  # whose loss is not finite, until that is recorded
        # the largest first, so that no core waits for one that started late
        self.members = [self._member(p) for p in sorted(planned, key=lambda p: -p.settings["n_latents"])]

    def _member(self, planned: Planned) -> Member:
        settings = planned.settings
        parameters = first_parameters(settings, self.scaling.mean, self._sample, lambda: self._output_weights)
        member = Member(planned, parameters, self.device, len(self.held_out), self.scaling.scale)
        if self.rows:
            member.load_state(*read_checkpoint(planned.folder, self.rows))
        else:
            begin(planned.folder)
        drop_leftovers(planned.folder)
        cut_curve(planned.folder, self.rows)
        return member

    def _sample(self) -> Tensor:
        """Read the rows from which an initialisation may compute directions: those of the stream's beginning."""
        count = min(SAMPLE_ROWS, self.loader.order.rows)
        batch = next(self.loader.batches(0, count, count))
        return batch.float().mul_(self.scaling.scale).sub_(self.scaling.mean)

    @cached_property
    def _output_weights(self) -> Tensor:
        """Read the matrix whose product the activations are, from the model."""
        return output_weights(self.model, self.store.manifest["model"], self.store.path, self.hook)

    def _prepare(self, batch: Tensor) -> Tensor:
        """Move rows to the device, and scale them."""
        return batch.to(self.device).float().mul_(self.scaling.scale)

    def run(self, stop: Stop) -> None:
        """Train every dictionary to its end, saving state on the way."""
        most = max(member.schedule.rows for member in self.members)
        if self.rows:
            self._finish_ended()
        planned = [member.planned for member in self.members]
        with (
            open_loggers(self.config.loggers, self.run_folder, planned, self.rows) as self.loggers,
            display(self.hook, self.members, most, self.rows, self.speaks) as self.display,
            side_by_side(len(self.members), self.device) as each,
            written_behind() as self.behind,
        ):
            stacks: list[Stack] = []
            for batch in self.loader.batches(self.rows, most, self.config.batch_rows):
                if sum(len(stack.members) for stack in stacks) != len(self.members):  # some were let go of
                    stacks = stack_members(self.members)
                x = self._prepare(batch)
                variance = (x - self.mean).square_().sum()
                each(partial(Stack.train_on, x=x, variance=variance), stacks)
                before, self.rows = self.rows, self.rows + len(x)
                for member in self.members:
                    if resample_due(member.planned.settings, member.schedule, before, self.rows):
                        resample(member, x)
                self._observe(before, each)
                self.display.advance(self.rows)
                ended = any(member.ended for member in self.members)
                stopped_by = stop.requested
                if ended or stopped_by or self.failing or _passes(before, self.rows, self.config.checkpoint_rows):
                    self._save()
                if ended:
                    self._finish_ended()
                if not self.members:
                    return
                if stopped_by:
                    raise Interrupted(f"{self.hook}: stopped by {stopped_by} at row {self.rows:,}, state saved")

    def _observe(self, before: int, each: Each) -> None:
        """Do what falls due with the step from `before`: copies, points of the curves, evaluations, snapshots."""
        for member in self.members:
            member.convergence.keep_half(before, self.rows, member.parameters["W_dec"])
        looks = {member: member.convergence.reached(before, self.rows) for member in self.members}
        logs = _passes(before, self.rows, self.logs)
        points = self._points([m for m in self.members if logs or m.ended or looks[m] is not None])
        evaluated = [member for member in points if member.ended or looks[member] is not None]
        for member, result in zip(evaluated, self._evaluate(evaluated, each), strict=True):
            points[member] |= result.point(member.objective)
            self._judge(member, looks[member], points[member]["eval_loss"])
        for member, point in points.items() if self.speaks else ():
            append_point(member.planned.folder, point)
            self.loggers.add(member.planned, point)
            self.display.show(member, point)
        if snapshot_due(before, self.rows, self.config.snapshots, self.config.batch_rows):
            self.behind.settle()
            for member in self.members:
                self._snapshot(member)

    def _evaluate(self, members: list[Member], each: Each) -> list[Evaluation]:
        return evaluate(members, self.held_out, self.mean, each)

    def _snapshot(self, member: Member) -> None:
        dictionary, folder = member.dictionary(self.scaling.scale), member.planned.folder
        self.behind.write(dictionary, folder, self.rows, metadata(self.store), self._provenance(member))

    def _judge(self, member: Member, look: int | None, loss: float) -> None:
        """Tell the rule of an evaluation; where it holds, let the rate fall from here on."""
        directions, alive = member.parameters["W_dec"], ~member.dead
        if look is not None and member.convergence.look(look, self.rows, loss, directions, alive):
            schedule = member.schedule
            end = min(schedule.rows, rows_at_end(self.rows, schedule.decay, self.config.batch_rows))
            member.convergence.ends = end
            member.schedule = schedule.ending(end)
        if member.ended:
            member.convergence.finish(directions, alive)

    def _points(self, members: list[Member]) -> dict[Member, dict[str, int | float]]:
        """Compose the next points of the curves, and let go of dictionaries whose loss is not finite."""
        points = {}
        for member in members:
            sums = member.take_sums()
            if math.isfinite(sums.loss):
                points[member] = member.point(sums, self.scaling.scale)
            else:
                self._fail(member, sums.loss / sums.rows)
        return points

    def _save(self) -> None:
        """Checkpoint every dictionary; once all are written, drop the older ones, and record those that failed."""
        self.loggers.flush()
        self.behind.settle()
        for member in list(self.members):
            if not bool(member.sums.isfinite().all()):
                self._fail(member, float(member.sums[1] / member.sums[0]))
        self._write_checkpoints()
        # after the others' checkpoints: whoever goes on from here stacks those that are left, as this process does
        for member, loss in self.failing.items() if self.speaks else ():
            planned = member.planned
            record = {"rows": member.rows, "loss": str(loss), "settings": planned.settings}
            publish_text(planned.folder / FAILED, json.dumps(record, indent=1) + "\n")
            print(f"{self.hook}/{planned.name}: loss {loss} by row {member.rows:,}; stopped", file=sys.stderr)
        self.failing.clear()

    def _write_checkpoints(self) -> None:
        for member in self.members:
            write_checkpoint(member.planned.folder, *member.state())
        for member in self.members:
            drop_checkpoints(member.planned.folder, but=self.rows)

    def _fail(self, member: Member, loss: float) -> None:
        """Leave a dictionary at its last checkpoint; the others go on."""
        self.members.remove(member)
        self.failing[member] = loss

    def _finish_ended(self) -> None:
        """Save dictionaries that are done, and let go of them."""
        for member in [member for member in self.members if member.ended]:
            dictionary = member.dictionary(self.scaling.scale)
            save_dictionary(dictionary, member.planned.folder, metadata(self.store), self._provenance(member))
            drop_checkpoints(member.planned.folder)
            self.members.remove(member)

    def _provenance(self, member: Member) -> dict[str, Any]:
        return provenance(self.store, member, self.scaling.scale, self.device)


def _passes(before: int, rows: int, every: int) -> bool:
    """Tell whether a multiple of `every` lies in (before, rows]."""
    return rows // every > before // every
