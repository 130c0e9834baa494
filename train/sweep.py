"""Train all dictionaries of a hook in one pass over its activations.

Every batch is read, scaled and moved to the device once, and each dictionary takes a step on it.
"""

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from train.checkpoint import drop_checkpoints, group_by_start, read_checkpoint, write_checkpoint
from train.curve import append_point, cut_curve
from train.initialise import SAMPLE_ROWS, first_directions, initial_parameters
from train.loader import Loader
from train.member import Member
from train.plan import FAILED, Planned, rows_between_logs
from train.provenance import metadata, provenance
from train.signals import Stop, stop_on_signals
from train.workers import side_by_side
from winnow.config import Experiment, Train
from winnow.dictionary import save_dictionary
from winnow.errors import UserError
from winnow.progress import progress_bar
from winnow.publish import publish_text
from winnow.stage import Interrupted
from winnow.store import ActivationStore


class Scaling(NamedTuple):
    """How a hook's activations reach the dictionaries: x * scale, whose mean norm is sqrt(d_model)."""

    scale: float
    mean: Tensor  # [d] of the scaled activations


def train_all(config: Experiment, activations: Path, planned: list[Planned]) -> None:
    """Train every planned dictionary to its end, hook by hook.

    Raises `UserError` where the harvest is not finished, `Interrupted` once a signal's state is saved.
    """
    store = ActivationStore(activations)
    if not store.complete:
        raise UserError(f"{activations}: the harvest is not finished; run make harvest")
    device = _device(config.model.device)
    with stop_on_signals() as stop:
        for hook in dict.fromkeys(p.hook for p in planned):
            for start, group in group_by_start(p for p in planned if p.hook == hook):
                _Sweep(config, store, hook, group, start, device).run(stop)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def scaling_of(store: ActivationStore, hook: str) -> Scaling:
    """Take scale and mean from the harvest's statistics.

    Raises `UserError` where the activations are zero throughout.
    """
    statistics = store.statistics(hook)
    if statistics.mean_norm == 0:
        raise UserError(f"{store.path}: the activations at {hook} are all zero; choose another hook")
    scale = math.sqrt(store.hooks[hook]) / statistics.mean_norm
    return Scaling(scale, torch.from_numpy(statistics.mean * scale).float())


class _Sweep:
    """The dictionaries of one hook that stand at the same row."""

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
        self.store = store
        self.hook = hook
        self.rows = start
        self.device = device
        self.scaling = scaling_of(store, hook)
        self.loader = Loader(store, hook, config.seed, config.train.window_mib * 2**20)
        # the largest first, so that no core waits for one that started late
        self.members = [self._member(p) for p in sorted(planned, key=lambda p: -p.settings["n_latents"])]

    def _member(self, planned: Planned) -> Member:
        settings = planned.settings
        directions = first_directions(
            settings["initialisation"], settings["n_latents"], len(self.scaling.mean), settings["seed"], self._sample
        )
        member = Member(planned, initial_parameters(directions, self.scaling.mean), self.device)
        if self.rows:
            member.load_state(*read_checkpoint(planned.folder, self.rows))
        planned.folder.mkdir(parents=True, exist_ok=True)
        cut_curve(planned.folder, self.rows)
        return member

    def _sample(self) -> Tensor:
        """Read the rows from which an initialisation may compute directions: those of the stream's beginning."""
        count = min(SAMPLE_ROWS, self.store.rows)
        batch = next(self.loader.batches(0, count, count))
        return batch.float().mul_(self.scaling.scale).sub_(self.scaling.mean)

    def run(self, stop: Stop) -> None:
        """Train to the end, saving state on the way."""
        total, batch_rows = self.config.rows, self.config.batch_rows
        mean = self.scaling.mean.to(self.device)
        logs = rows_between_logs(self.config)
        note = ""
        title = f"train {self.hook}"
        with (
            progress_bar(title, total, "rows", self.rows) as bar,
            side_by_side(len(self.members), self.device) as each,
        ):
            for batch in self.loader.batches(self.rows, total, batch_rows):
                x = batch.to(self.device).float().mul_(self.scaling.scale)
                variance = (x - mean).square_().sum()
                each(partial(Member.train_on, x=x, variance=variance), self.members)
                before, self.rows = self.rows, self.rows + len(x)
                at_end = self.rows == total
                note = self._log() if at_end or self.rows // logs > before // logs else note
                bar.advance(len(x), note)
                if stop.requested and not at_end:
                    self._save()
                    raise Interrupted(f"{self.hook}: stopped by {stop.requested} at row {self.rows:,}, state saved")
                if at_end or self.rows // self.config.checkpoint_rows > before // self.config.checkpoint_rows:
                    self._save()
                if not self.members:
                    return
        for member in self.members:
            self._finish(member)

    def _log(self) -> str:
        """Add a point to every curve, let go of dictionaries whose loss is not finite, and sum up in a few words."""
        points = []
        for member in list(self.members):
            sums = member.take_sums()
            if not math.isfinite(sums.loss):
                self._fail(member, sums.loss / sums.rows)
                continue
            points.append(member.point(sums, self.scaling.scale))
            append_point(member.planned.folder, points[-1])
        if not points:
            return ""
        best = min(points, key=lambda point: point["fvu"])
        return f"{len(points)}: best FVU {best['fvu']:.3f}, L0 {best['l0']:.0f}"

    def _save(self) -> None:
        """Checkpoint every dictionary; once all are written, drop the older ones."""
        for member in list(self.members):
            if not bool(member.sums.isfinite().all()):
                self._fail(member, float(member.sums[1] / member.sums[0]))
        for member in self.members:
            write_checkpoint(member.planned.folder, *member.state())
        for member in self.members:
            drop_checkpoints(member.planned.folder, but=self.rows)

    def _fail(self, member: Member, loss: float) -> None:
        """Leave a dictionary at its last checkpoint, and say so; the others go on."""
        self.members.remove(member)
        planned = member.planned
        record = {"rows": member.rows, "loss": str(loss), "settings": planned.settings}
        publish_text(planned.folder / FAILED, json.dumps(record, indent=1) + "\n")
        print(f"{self.hook}/{planned.name}: loss {loss} by row {member.rows:,}; stopped", file=sys.stderr)

    def _finish(self, member: Member) -> None:
        planned = member.planned
        record = provenance(self.store, planned, member.rows, self.scaling.scale, self.device)
        save_dictionary(member.dictionary(self.scaling.scale), planned.folder, metadata(self.store), record)
        drop_checkpoints(planned.folder)
