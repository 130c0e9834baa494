"""Train all dictionaries of a hook in one pass over its activations.

Every batch is read, scaled and moved to the device once, and each dictionary takes a step on it.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.architectures import Parameters
from train.checkpoint import begin, drop_checkpoints, drop_leftovers, group_by_start, read_checkpoint, write_checkpoint
from train.compute_dtype import resolved
from train.cores import ParallelMap, parallel_map
from train.curve import append_point, cut_curve
from train.device_windows import batches_on
from train.display import display
from train.evaluation import Evaluation, EvaluationRows, HeldOutRows, evaluate, evaluated_rows, first_held_out
from train.inputs import Inputs
from train.learner import Learner, scaling_of
from train.link import link_to, send_ahead
from train.loader import Loader
from train.loggers import check_loggers, open_loggers
from train.memory import refuse_too_large, room_for_rows
from train.normal import Drawn
from train.plan import FAILED, Planned, rows_between_logs
from train.provenance import metadata, provenance
from train.record import record_dictionaries
from train.recut import drop_other_cuts, recut
from train.resample import resample, resample_due
from train.schedule import rows_at_end
from train.settings import GAUSSIAN_ROWS
from train.signals import Stop, stop_on_signals
from train.snapshots import snapshot_due, snapshot_writer
from train.stack import Stack, stack_learners
from train.start.initialise import SAMPLE_ROWS, first_parameters
from winnow.config.experiment import Experiment, TrainSettings
from winnow.dictionary import save_dictionary
from winnow.errors import UserError
from winnow.massive.kept import kept_rows
from winnow.model.output_weights import output_weights
from winnow.runtime.announce import announce
from winnow.runtime.device import choose_device
from winnow.runtime.publish import publish_text
from winnow.runtime.ranks import Ranks
from winnow.runtime.stage import Interrupted
from winnow.sparsity import misses_k
from winnow.store import ActivationStore

STALLS = 3  # evaluation points, a doubling of the rows: what stands still for so long gets a warning


def train_all(config: Experiment, activations: Path, planned: list[Planned], ranks: Ranks) -> None:
    """Train every planned dictionary to its end, hook by hook.

    ranks: of the job; a process's rank selects its GPU. Raises `UserError` if the harvest is not finished, or the
    device lacks the dtype that is asked for; `Interrupted` after a signal, once the state is saved.
    """
    store = finished_store(activations)
    check_loggers(config.train.loggers)
    device = choose_device(config.model.device, ranks, mps=False)  # MPS lacks float64, in which sums are kept
    planned = resolved(planned, device)
    announce_training(device, planned, ranks)
    with stop_on_signals() as stop:
        for hook in dict.fromkeys(p.hook for p in planned):
            refuse_too_large((p for p in planned if p.hook == hook), store.hooks[hook], device)
            for one in (p for p in planned if p.hook == hook):  # that ranks may have shared
                recut(one.folder, one.settings.n_latents, 0, 1)
                drop_other_cuts(one.folder, 1)
            for start, group in group_by_start(p for p in planned if p.hook == hook):
                _Sweep(config, store, hook, group, start, device).run(stop)


def announce_training(device: torch.device, planned: Sequence[Planned], ranks: Ranks) -> None:
    """Say, on the first rank, which device trains; warn where one of the dictionaries is slow on it."""
    if ranks.rank == 0:
        low = any(one.settings.compute_dtype == "bfloat16" for one in planned)
        announce("train", device, {"train.compute_dtype": "bfloat16"} if low else {})


def finished_store(activations: Path) -> ActivationStore:
    """Open a store. Raises `UserError` if the harvest is not finished."""
    store = ActivationStore(activations)
    if not store.complete:
        raise UserError(f"{activations}: the harvest is not finished; run make harvest")
    store.check()
    return store


class _Sweep:
    """The dictionaries of one hook that are at the same row."""

    is_main = True  # writes the curve and shows progress; if several processes share a dictionary, one of them does

    def __init__(
        self,
        config: Experiment,
        store: ActivationStore,
        hook: str,
        planned: list[Planned],
        start: int,
        device: torch.device,
    ) -> None:
        self.config: TrainSettings = config.train
        self.run_folder = Path(config.run)
        self.model = config.model
        self.store = store
        self.hook = hook
        self.rows = start
        self.device = device
        self.link = link_to(device)
        self.logs = rows_between_logs(planned[0].settings)
        self.kept = kept_rows(store, hook, planned[0].settings.massive_norm)
        self.scaling = scaling_of(self.kept, config.train.scale_activations)
        self.mean = self.scaling.mean.to(device)
        trained = first_held_out(self.kept, config.train.held_out_rows)
        evaluated = range(trained, trained + evaluated_rows(planned[0].settings, self.kept.rows - trained))
        self.held_out = HeldOutRows(self.kept, evaluated, config.train.batch_rows, self._prepare, self.link)
        self.loader = Loader(store, hook, config.seed, config.train.window_mib * 2**20, trained, self.kept)
        self.drawn = Drawn(self.loader, self.scaling.scale, self.mean)
        self.stalled: Counter[Learner] = Counter()  # evaluation points at which it stood still without having learned
        self.failing: dict[Learner, float] = {}  # their losses are not finite, which is not recorded yet
        # the largest first, so that no core waits for one that started late
        self.learners = [self._learner(p) for p in sorted(planned, key=lambda p: -p.settings.n_latents)]

    def _learner(self, planned: Planned) -> Learner:
        learner = Learner(planned, self._first_parameters(planned), self.device, len(self.held_out), self.scaling.scale)
        if self.rows:
            learner.load_state(*read_checkpoint(planned.folder, self.rows))
        else:
            begin(planned.folder)
        drop_leftovers(planned.folder)
        cut_curve(planned.folder, self.rows)
        return learner

    def _first_parameters(self, planned: Planned) -> Parameters:
        sample = self._gaussian_sample if planned.settings.control == GAUSSIAN_ROWS else self._sample
        return first_parameters(planned.settings, self.scaling.mean, sample, lambda: self._output_weights)

    def _sample(self) -> Tensor:
        """Read the first rows of the stream, from which an initialisation may compute directions."""
        count = min(SAMPLE_ROWS, self.loader.order.rows)
        batch = next(self.loader.batches(0, count, count))
        return batch.float().mul_(self.scaling.scale).sub_(self.scaling.mean)

    def _gaussian_sample(self) -> Tensor:
        """Take its place for Gaussian controls."""
        return self.drawn.gaussian.read(0, min(SAMPLE_ROWS, self.loader.order.rows)).cpu().sub_(self.scaling.mean)

    @cached_property
    def _output_weights(self) -> Tensor:
        """Read from the model the weight matrix whose product is the activations."""
        return output_weights(self.model, self.store.manifest["model"], self.store.path, self.hook)

    def _prepare(self, batch: Tensor) -> Tensor:
        """Return rows on the device, scaled; `batch` stays as it is."""
        return batch.to(self.device).float() * self.scaling.scale

    def run(self, stop: Stop) -> None:
        """Train every dictionary to its end, saving state on the way."""
        most = max(learner.schedule.rows for learner in self.learners)
        if self.rows:
            self._finish_ended()
        planned = [learner.planned for learner in self.learners]
        with (
            open_loggers(self.config.loggers, self.run_folder, planned, self.rows) as self.loggers,
            display(self.hook, self.learners, most, self.rows, self.is_main) as self.display,
            parallel_map(len(self.learners), self.device) as in_parallel,
            snapshot_writer() as self.writer,
        ):
            if not self.rows:
                for learner, result in zip(self.learners, self._evaluate(self.learners, in_parallel), strict=True):
                    learner.convergence.start_loss = result.loss(learner.objective)
            stacks: list[Stack] = []
            room = room_for_rows(self.learners, self.device)
            for batch in batches_on(self.loader, self.link, room, self.rows, most, self.config.batch_rows):
                if sum(len(stack.learners) for stack in stacks) != len(self.learners):  # some have left
                    stacks = stack_learners(self.learners)
                before, self.rows = self.rows, self.rows + len(batch)
                inputs = Inputs(self._prepare(batch), before, self.drawn, stacks)
                in_parallel(inputs.train, stacks)
                for learner in self.learners:
                    if resample_due(learner.planned.settings, learner.schedule, before, self.rows):
                        resample(learner, inputs.of(learner.planned.settings))
                self._observe(before, in_parallel)
                self.display.advance(self.rows)
                ended = any(learner.ended for learner in self.learners)
                stopped_by = stop.requested
                if ended or stopped_by or self.failing or _passes(before, self.rows, self.config.checkpoint_rows):
                    self._save()
                if ended:
                    self._finish_ended()
                if not self.learners:
                    return
                if stopped_by:
                    raise Interrupted(f"{self.hook}: stopped by {stopped_by} at row {self.rows:,}, state saved")

    def _observe(self, before: int, in_parallel: ParallelMap) -> None:
        """Do what is due after the step from `before`: copies, points of the curves, evaluations, snapshots."""
        for learner in self.learners:
            learner.convergence.keep_half(before, self.rows, learner.parameters["W_dec"])
        due = {learner: learner.convergence.point_due(before, self.rows) for learner in self.learners}
        logs = _passes(before, self.rows, self.logs)
        self._estimate_thresholds([learner for learner in self.learners if learner.ended])
        points = self._points([m for m in self.learners if logs or m.ended or due[m] is not None])
        evaluated = [learner for learner in points if learner.ended or due[learner] is not None]
        for learner, result in zip(evaluated, self._evaluate(evaluated, in_parallel), strict=True):
            points[learner] |= result.point(learner.objective)
            self._judge(learner, due[learner], result)
        for learner, point in points.items() if self.is_main else ():
            append_point(learner.planned.folder, point)
            self.loggers.add(learner.planned, point)
            self.display.show(learner, point)
        if snapshot_due(before, self.rows, self.config.snapshots, self.config.batch_rows):
            self.writer.wait()
            for learner in self.learners:
                self._snapshot(learner)

    def _estimate_thresholds(self, ended: list[Learner]) -> None:
        """Estimate the thresholds of finished dictionaries again, now that their weights stand still."""
        asked = {m: rows for m in ended if (rows := m.planned.settings.threshold_rows) is not None}
        if not asked:
            return
        size = self.config.batch_rows
        batches = self.loader.spread(max(asked.values())).split(size)  # read once for all of them
        whole = [batch for batch in batches if len(batch) == size] or batches
        for learner in asked:
            if learner.planned.settings.control == GAUSSIAN_ROWS:
                drawn = self.drawn.gaussian
                learner.estimate_buffers(drawn.read(i * size, (i + 1) * size) for i in range(len(whole)))
            else:
                learner.estimate_buffers(map(self._prepare, send_ahead(whole, self.link)))

    def _evaluate(self, learners: list[Learner], in_parallel: ParallelMap) -> list[Evaluation]:
        results: dict[Learner, Evaluation] = {}
        for gaussian in (False, True):
            alike = [m for m in learners if (m.planned.settings.control == GAUSSIAN_ROWS) == gaussian]
            if alike:
                found = evaluate(alike, self._held_out_of(alike[0]), self.mean, in_parallel)
                results |= zip(alike, found, strict=True)
        return [results[learner] for learner in learners]

    def _held_out_of(self, learner: Learner) -> EvaluationRows:
        """Return rows on which a dictionary is evaluated: of the kind that it is trained on."""
        if learner.planned.settings.control == GAUSSIAN_ROWS:
            return self.drawn.held_out(len(self.held_out), self.config.batch_rows)
        return self.held_out

    def _snapshot(self, learner: Learner) -> None:
        dictionary, folder = learner.dictionary(self.scaling.scale), learner.planned.folder
        self.writer.write(dictionary, folder, self.rows, metadata(self.store, self.kept), self._provenance(learner))

    def _judge(self, learner: Learner, number: int | None, result: Evaluation) -> None:
        """Add an evaluation point, if one is due; once the rule holds, let the learning rate fall."""
        directions, alive, loss = learner.parameters["W_dec"], ~learner.dead, result.loss(learner.objective)
        learner.convergence.measure_progress(loss, result.fvu, directions, alive)
        if number is not None and learner.convergence.add_point(number, self.rows, loss, directions, alive):
            schedule = learner.schedule
            end = min(schedule.rows, rows_at_end(self.rows, schedule.decay, self.config.batch_rows))
            learner.convergence.ends = end
            learner.schedule = schedule.ending(end)
        if learner.ended:
            learner.convergence.finish(directions, alive)
            self._check_l0(learner, result.l0)
        if learner.convergence.stalled:
            self.stalled[learner] += 1
            if self.stalled[learner] == STALLS or learner.ended:
                self._warn(learner, "it stands still and has not learned; raise learning_rate")

    def _check_l0(self, learner: Learner, l0: float) -> None:
        """Warn where a threshold lets through on held-out rows what it was not meant to."""
        settings = learner.planned.settings
        if settings.threshold_rows is not None and settings.k and misses_k(settings.k, l0):
            self._warn(learner, f"{l0:.1f} latents are active on held-out rows, k = {settings.k}; compare it by its L0")

    def _warn(self, learner: Learner, what: str) -> None:
        if self.is_main:
            print(f"{self.hook}/{learner.planned.name}, row {self.rows:,}: {what}", file=sys.stderr)

    def _points(self, learners: list[Learner]) -> dict[Learner, dict[str, int | float]]:
        """Compose the next points of the curves, and stop dictionaries whose loss is not finite."""
        points = {}
        for learner in learners:
            sums = learner.take_sums()
            if math.isfinite(sums.loss):
                points[learner] = learner.point(sums, self.scaling.scale)
            else:
                self._fail(learner, sums.loss / sums.rows)
        return points

    def _save(self) -> None:
        """Checkpoint every dictionary; once all are written, drop the older ones, and record those that failed."""
        self.loggers.flush()
        self.writer.wait()
        for learner in list(self.learners):
            if not bool(learner.sums.isfinite().all()):
                self._fail(learner, float(learner.sums[1] / learner.sums[0]))
        self._write_checkpoints()
        # after the others' checkpoints, so that a process that resumes here stacks the same dictionaries as this one
        for learner, loss in self.failing.items() if self.is_main else ():
            planned = learner.planned
            record = {"rows": learner.rows, "loss": str(loss), "settings": planned.settings.to_json()}
            publish_text(planned.folder / FAILED, json.dumps(record, indent=1) + "\n")
            print(f"{self.hook}/{planned.name}: loss {loss} by row {learner.rows:,}; stopped", file=sys.stderr)
        self.failing.clear()

    def _write_checkpoints(self) -> None:
        for learner in self.learners:
            write_checkpoint(learner.planned.folder, *learner.state())
        for learner in self.learners:
            drop_checkpoints(learner.planned.folder, but=self.rows)

    def _fail(self, learner: Learner, loss: float) -> None:
        """Stop a dictionary and keep its last checkpoint; the others continue."""
        self.learners.remove(learner)
        self.failing[learner] = loss

    def _finish_ended(self) -> None:
        """Save finished dictionaries, and remove them from the sweep."""
        ended = [learner for learner in self.learners if learner.ended]
        for learner in ended:
            dictionary = learner.dictionary(self.scaling.scale)
            said = metadata(self.store, self.kept)
            save_dictionary(dictionary, learner.planned.folder, said, self._provenance(learner))
        if ended:  # before the checkpoints go: after a kill, what is not recorded is saved again
            record_dictionaries(self.run_folder, [learner.planned.folder for learner in ended])
        for learner in ended:
            drop_checkpoints(learner.planned.folder)
            self.learners.remove(learner)

    def _provenance(self, learner: Learner) -> dict[str, Any]:
        return provenance(self.kept, learner, self.scaling.scale, self.device)


def _passes(before: int, rows: int, every: int) -> bool:
    """Tell whether a multiple of `every` lies in (before, rows]."""
    return rows // every > before // every
