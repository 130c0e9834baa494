"""SAELens: `SAETrainer.fit`, and dictionaries as it saves them for inference.

Activations are scaled as its `expected_average_only_in` does, to a mean norm of √d. Rate and penalty rise over the
first steps and the rate falls at the end, as in its tutorials. `topk_threshold_lr` averages over as many steps as the
warm-up has: its default, over a hundred, would not have left the zero that it starts with.
"""

# pyright: reportMissingImports=false

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.gated_sae import GatedTrainingSAE, GatedTrainingSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import (
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
)
from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

from bench.quality.data import Batches
from bench.quality.plan import DEAD_AFTER, DECAY, WARMUP, Cell
from bench.quality.trainers.prefixes import prefixes

VERSION = f"sae-lens {version('sae-lens')}"


def train(cells: Sequence[Cell], batches: Batches, folder: Path) -> Iterator[tuple[Cell, Path]]:
    """Train cells one by one."""
    for cell in cells:
        torch.manual_seed(cell.seed)
        sae = _untrained(cell, batches)
        steps = len(batches)
        config = SAETrainerConfig(
            total_training_samples=steps * batches.setup.batch_rows,
            train_batch_size_samples=batches.setup.batch_rows,
            lr=cell.rate,
            lr_end=cell.rate / 10,  # as its runner sets it; a constant schedule does not use it
            lr_warm_up_steps=_steps(WARMUP, steps),
            lr_decay_steps=_steps(DECAY, steps),
            dead_feature_window=_steps(DEAD_AFTER, steps),
        )
        trainer = SAETrainer(config, sae, iter(batches))
        trainer.activation_scaler.estimate_scaling_factor(batches.d_model, iter(batches), steps)
        trainer.fit()
        sae.save_inference_model(folder / cell.name)
        yield cell, folder / cell.name


def _untrained(cell: Cell, batches: Batches) -> Any:
    n = batches.setup.n_latents
    shape = {"d_in": batches.d_model, "d_sae": n, "normalize_activations": "expected_average_only_in"}
    warmup = _steps(WARMUP, len(batches))
    l1 = {"l1_coefficient": cell.sparsity, "l1_warm_up_steps": warmup}
    l0 = {"l0_coefficient": cell.sparsity, "l0_warm_up_steps": warmup}
    by_batch = {"k": cell.sparsity, "topk_threshold_lr": 1 / warmup}
    kind, config, own = {
        "relu": (StandardTrainingSAE, StandardTrainingSAEConfig, l1),
        "topk": (TopKTrainingSAE, TopKTrainingSAEConfig, {"k": int(cell.sparsity)}),
        "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, by_batch),
        "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, l0),
        "gated": (GatedTrainingSAE, GatedTrainingSAEConfig, l1),
        "matryoshka": (
            MatryoshkaBatchTopKTrainingSAE,
            MatryoshkaBatchTopKTrainingSAEConfig,
            {**by_batch, "matryoshka_widths": prefixes(n)},
        ),
    }[cell.architecture]
    return kind(config(**shape, **own))


def _steps(share: float, steps: int) -> int:
    return max(1, round(share * steps))
