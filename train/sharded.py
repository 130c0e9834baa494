"""Train one dictionary at a time, its latents split over the ranks of a job: for dictionaries too large for one GPU.

    torchrun --nproc-per-node 8 -m train --config FILE --train.shard_latents true

Rank r of R holds latents [r·n/R, (r + 1)·n/R): their encoder and decoder rows, their share of Adam, their counters.
Every rank reads the same rows in the same order. In each step the ranks exchange (train/collectives.py) the partial
reconstructions, which are summed; for topk and batchtopk the candidates for the largest values; and b_dec's gradient,
so that b_dec stays the same everywhere. Decisions depend only on numbers that are equal on all ranks, so all ranks
decide alike.

    dictionaries/<hook>/<name>/shards/1-of-8/checkpoints/   the state of rank 1 of 8, as train/checkpoint.py writes it

A checkpoint counts once every rank has it; until then the previous one is kept. Another number of ranks cuts it anew
and goes on (train/recut.py). Rank 0 gathers the finished dictionary, which is like any other.
"""

import copy
import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from train.checkpoint import drop_checkpoints, drop_leftovers, read_checkpoint, write_checkpoint
from train.collectives import Collectives, joined
from train.compute_dtype import resolved
from train.cores import ParallelMap
from train.curve import cut_curve
from train.evaluation import Evaluation
from train.learner import Learner
from train.loggers import check_loggers
from train.memory import refuse_too_large
from train.plan import SHARDS, Planned, refuse_other
from train.provenance import metadata
from train.record import record_dictionaries
from train.recut import WHOLE, common_rows, drop_other_cuts, part_of, recut, slice_folder
from train.signals import Stop, stop_on_signals
from train.snapshots import snapshot_path
from train.sweep import _Sweep, announce_training, finished_store
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary, save_dictionary
from winnow.errors import UserError
from winnow.runtime.device import choose_device
from winnow.runtime.lock import claim
from winnow.runtime.ranks import Ranks
from winnow.store import ActivationStore


def slice_of(parameters: Mapping[str, Tensor], collectives: Collectives) -> dict[str, Tensor]:
    """Take this rank's latents out of the parameters of a whole dictionary.

    Raises `UserError` if they cannot be split evenly.
    """
    part = part_of(len(parameters["W_dec"]), collectives.ranks)
    mine = slice(collectives.rank * part, (collectives.rank + 1) * part)
    return {name: p if name in WHOLE else p[mine].clone() for name, p in parameters.items()}


def gathered(learner: Learner, collectives: Collectives, scale: float) -> Dictionary | None:
    """Put a dictionary together in host memory on rank 0; return None on the other ranks."""
    whole = copy.copy(learner)
    parts = {
        name: p.cpu() if name in WHOLE or not p.ndim else collectives.gather(p)
        for name, p in learner.parameters.items()
    }
    if collectives.rank:
        return None
    whole.parameters = {name: p for name, p in parts.items() if p is not None}
    return whole.dictionary(scale)


def shard_folder(planned: Planned, collectives: Collectives) -> Path:
    """Return the folder of this rank's state."""
    return slice_folder(planned.folder, collectives.rank, collectives.ranks)


def wait_for_all(collectives: Collectives) -> None:
    """Wait until every rank is here."""
    collectives.all_reduce(torch.zeros(()))


@contextmanager
def claimed(planned: Planned, collectives: Collectives) -> Iterator[None]:
    """Keep a dictionary for this job. Raises `UserError` on all ranks if another job has it."""
    with ExitStack() as held:
        free = bool(collectives.rank) or held.enter_context(claim(planned.folder))
        if int(collectives.all_reduce(torch.tensor(int(not free)))):
            raise UserError(f"{planned.folder}: another job is training it; wait for it, or stop it")
        yield


def recut_together(planned: Planned, collectives: Collectives) -> None:
    """Cut the latest checkpoint into as many slices as there are ranks, where another number of ranks wrote it."""
    wait_for_all(collectives)  # nobody writes before all have looked at what there is
    recut(planned.folder, planned.settings.n_latents, collectives.rank, collectives.ranks)
    wait_for_all(collectives)
    if collectives.rank == 0:
        drop_other_cuts(planned.folder, collectives.ranks)
    wait_for_all(collectives)


class SharedStop(Stop):
    """A signal to any rank stops all of them, after the same step."""

    def __init__(self, stop: Stop, collectives: Collectives) -> None:
        self.stop = stop
        self.collectives = collectives

    @property
    def requested(self) -> str | None:  # type: ignore[override]
        """Ask all ranks: every rank must read this equally often."""
        asked = self.stop.requested
        anywhere = int(self.collectives.all_reduce(torch.tensor(int(asked is not None))))
        return (asked or "a signal to another rank") if anywhere else None


class _SharedSweep(_Sweep):
    """A sweep of one dictionary, of which this rank holds a slice of the latents."""

    def __init__(
        self,
        config: Experiment,
        store: ActivationStore,
        planned: Planned,
        collectives: Collectives,
        device: torch.device,
    ) -> None:
        self.collectives = collectives
        self.is_main = collectives.rank == 0
        if not self.is_main:
            config = config.model_copy(update={"train": config.train.model_copy(update={"loggers": []})})
        recut_together(planned, collectives)
        start = common_rows(planned.folder, collectives.ranks)
        super().__init__(config, store, planned.hook, [planned], start, device)

    def run(self, stop: Stop) -> None:
        """Train to the end, saving state on the way."""
        super().run(SharedStop(stop, self.collectives))

    def _learner(self, planned: Planned) -> Learner:
        mine = slice_of(self._first_parameters(planned), self.collectives)
        learner = Learner(planned, mine, self.device, len(self.held_out), self.scaling.scale)
        learner.architecture = dataclasses.replace(learner.architecture, collectives=self.collectives)
        learner.convergence.collectives = self.collectives
        folder = shard_folder(planned, self.collectives)
        folder.mkdir(parents=True, exist_ok=True)
        drop_leftovers(folder)
        if self.rows:
            tensors, numbers = read_checkpoint(folder, self.rows)
            refuse_other(planned, numbers["settings"])
            learner.load_state(tensors, numbers)
        if self.is_main:
            cut_curve(planned.folder, self.rows)
        return learner

    def _evaluate(self, learners: list[Learner], in_parallel: ParallelMap) -> list[Evaluation]:
        return [self._evaluated(learner) for learner in learners]

    @torch.no_grad()
    def _evaluated(self, learner: Learner) -> Evaluation:
        """Measure the dictionary as it would be saved, on the held-out rows."""
        part, rule, collectives = learner.dictionary(1.0), learner.architecture, self.collectives
        sums = torch.zeros(len(Evaluation._fields), dtype=torch.float64, device=self.device)
        for x in self._held_out_of(learner).batches():
            if part.k is None:
                f = part.encode(x)
            else:
                pre = (x - part.b_dec) @ part.W_enc + part.b_enc
                active = rule.top_k(pre.unsqueeze(0), [part.k])
                rows = torch.repeat_interleave(active.offsets.diff())
                f = torch.zeros_like(pre).index_put_((rows, active.latents), active.values)
            error = collectives.all_reduce(part.W_dec.new_zeros(x.shape).addmm_(f, part.W_dec)).add_(part.b_dec).sub_(x)
            latents = collectives.all_reduce(torch.stack([(f > 0).sum().double(), f.sum().double()]))
            variance = (x - self.mean).square_().sum()
            rows = torch.full_like(variance, len(x))
            quantities = [rows, error.square_().sum(), latents[0], latents[1], variance]
            sums += torch.stack([quantity.double() for quantity in quantities])
        return Evaluation(*sums.tolist())

    def _snapshot(self, learner: Learner) -> None:
        self._publish(learner, snapshot_path(learner.planned.folder, learner.rows))

    def _write_checkpoints(self) -> None:
        """Write this rank's slice; once all ranks have theirs, drop the older one."""
        for learner in self.learners:
            folder = shard_folder(learner.planned, self.collectives)
            write_checkpoint(folder, *learner.state())
            wait_for_all(self.collectives)
            drop_checkpoints(folder, but=self.rows)

    def _finish_ended(self) -> None:
        for learner in [learner for learner in self.learners if learner.ended]:
            self._publish(learner, learner.planned.folder)
            wait_for_all(self.collectives)
            if self.is_main:
                record_dictionaries(self.run_folder, [learner.planned.folder])
                shutil.rmtree(learner.planned.folder / SHARDS)
            self.learners.remove(learner)

    def _publish(self, learner: Learner, folder: Path) -> None:
        dictionary = gathered(learner, self.collectives, self.scaling.scale)
        if dictionary is not None:
            save_dictionary(dictionary, folder, metadata(self.store, self.kept), self._provenance(learner))


def train_shared(config: Experiment, activations: Path, planned: list[Planned], ranks: Ranks) -> None:
    """Train the planned dictionaries to their ends, one after the other, each with all ranks of the job.

    Raises `UserError` if the harvest is not finished, or a dictionary cannot be split, was begun with other settings or
    is another job's;
    `Interrupted` after a signal, once the state is saved, and if another rank is lost.
    """
    store = finished_store(activations)
    check_loggers(config.train.loggers)
    device = choose_device(config.model.device, ranks, mps=False)
    announce_training(device, planned, ranks)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    planned = resolved(planned, device)
    with joined(ranks) as collectives, stop_on_signals() as stop:
        for one in planned:
            refuse_too_large([one], store.hooks[one.hook], device, ranks.total)
            with claimed(one, collectives):
                _SharedSweep(config, store, one, collectives, device).run(stop)
