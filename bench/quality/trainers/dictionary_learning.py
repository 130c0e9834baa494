"""dictionary_learning: `trainSAE`, with activations normalised to a mean squared norm of 1, and what it saves.

Its defaults give warm-ups, the step from which a threshold is kept and that threshold's average as 1,000 steps of
trainings of a quarter of a million (the sparsity's warm-up as 2,000), and call latents dead after ten million rows.
Here the 1,000 are the share `WARMUP` of the steps, and the rate falls over the last fifth, as in its own sweeps.
"""

# pyright: reportMissingImports=false

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from dictionary_learning.training import trainSAE

from bench.quality.data import Batches
from bench.quality.plan import DEAD_AFTER, DECAY, WARMUP, Cell
from bench.quality.trainers.prefixes import prefixes

VERSION = f"dictionary-learning {version('dictionary-learning')}"
PENALISED = {
    "relu": (StandardTrainer, "l1_penalty"),
    "gated": (GatedSAETrainer, "l1_penalty"),
    "jumprelu": (JumpReluTrainer, "target_l0"),
}
SPARSE = {"topk": TopKTrainer, "batchtopk": BatchTopKTrainer, "matryoshka": MatryoshkaBatchTopKTrainer}


def train(cells: Sequence[Cell], batches: Batches, folder: Path) -> Iterator[tuple[Cell, Path]]:
    """Train cells one by one."""
    for cell in cells:
        torch.manual_seed(cell.seed)  # JumpReluTrainer takes a seed and leaves it aside
        trainSAE(
            data=batches,
            trainer_configs=[_trainer(cell, batches)],
            steps=len(batches),
            normalize_activations=True,
            save_dir=str(folder / cell.name),
            device="cpu",
        )
        yield cell, folder / cell.name / "trainer_0"


def _trainer(cell: Cell, batches: Batches) -> dict[str, Any]:
    steps, n = len(batches), batches.setup.n_latents
    thousand = max(1, round(WARMUP * steps))
    options: dict[str, Any] = {
        "steps": steps,
        "activation_dim": batches.d_model,
        "dict_size": n,
        "layer": 0,
        "lm_name": "",
        "device": "cpu",
        "seed": cell.seed,
        "lr": cell.rate,
        "warmup_steps": thousand,
        "decay_start": max(2 * thousand + 1, round((1 - DECAY) * steps)),
    }
    if cell.architecture in PENALISED:
        kind, penalty = PENALISED[cell.architecture]
        options |= {penalty: cell.sparsity, "sparsity_warmup_steps": 2 * thousand}
    else:
        kind = SPARSE[cell.architecture]
        options |= {"k": int(cell.sparsity), "threshold_start_step": thousand, "threshold_beta": 1 - 1 / (thousand + 1)}
    if cell.architecture == "matryoshka":
        sizes = prefixes(n)
        options["group_fractions"] = [(size - less) / n for less, size in zip([0, *sizes], sizes, strict=False)]

    def make(**options: Any) -> Any:
        trainer = kind(**options)
        trainer.dead_feature_threshold = round(DEAD_AFTER * steps * batches.setup.batch_rows)
        return trainer

    return {"trainer": make, **options}
