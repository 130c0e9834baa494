"""sparsify: topk with its default optimiser, schedule-free sign descent, without AuxK, which is off by default.

Its step is part of a long loop that also runs the language model; the lines after the activations are repeated here in
their order. It has no scaling of activations: they come at a mean norm of √d, as winnow's trainer sees them.
"""

# pyright: reportMissingImports=false

import math
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from schedulefree import ScheduleFreeWrapper
from sparsify.config import SaeConfig
from sparsify.sign_sgd import SignSGD
from sparsify.sparse_coder import SparseCoder

from bench.quality.data import Batches
from bench.quality.plan import Cell

VERSION = f"eai-sparsify {version('eai-sparsify')}"


def train(cells: Sequence[Cell], batches: Batches, folder: Path) -> Iterator[tuple[Cell, Path]]:
    """Train cells one by one."""
    scale = math.sqrt(batches.d_model) / batches.mean_norm
    for cell in cells:
        torch.manual_seed(cell.seed)
        config = SaeConfig(num_latents=batches.setup.n_latents, k=int(cell.sparsity))
        sae = SparseCoder(batches.d_model, config, dtype=torch.float32)
        optimizer = ScheduleFreeWrapper(SignSGD(sae.parameters(), lr=cell.rate), momentum=0.95)
        optimizer.train()
        for step, batch in enumerate(batches):
            x = batch * scale
            if step == 0:
                sae.b_dec.data = x.mean(0)
            sae.set_decoder_norm_to_unit_norm()
            out = sae(x=x, y=x, dead_mask=None, total_variance=(x - x.mean(0)).pow(2).sum())
            out.fvu.backward()
            sae.remove_gradient_parallel_to_decoder_directions()
            optimizer.step()
            optimizer.zero_grad()
        optimizer.eval()  # the averaged weights, which its checkpoints hold
        with torch.no_grad():  # of unscaled activations
            sae.W_dec /= scale
            sae.b_dec /= scale
            sae.encoder.weight *= scale
        sae.save_to_disk(folder / cell.name)
        yield cell, folder / cell.name
