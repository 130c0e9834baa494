"""Take training steps of one trainer, ours or a peer's, on request; run it in the trainer's environment.

    PYTHON bench/peer_step.py NAME ROWS D_MODEL N_LATENTS K

Prints `ready` when it is, then takes one step for each line that it reads, and prints the seconds. A step is all that
the trainer's own loop does with a batch: loss, gradients, optimiser, schedule, normalisation and counters. If the
trainer has a method for that, it is called (SAELens' `SAETrainer.step`, dictionary_learning's `update`). sparsify's
step is part of a long loop that also runs the language model; its lines after the activations are repeated here in
their order, with its `adam`. Settings are each trainer's defaults.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

Step = Callable[[], object]
STEPS = 1_000_000  # the length of the training, for schedules


def winnow(kind: str, x: torch.Tensor, n: int, k: int, dtype: str) -> Step:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from train.learner import Learner
    from train.plan import Planned
    from train.settings import DictionarySettings
    from train.stack import Stack
    from train.start.initialise import first_directions, initial_parameters

    rows, d = x.shape
    sparsity = {"l1_coefficient": 1.0} if kind == "relu" else {"k": k, "auxk_coefficient": 1 / 32}
    settings = {
        "architecture": kind,
        "n_latents": n,
        "seed": 0,
        "learning_rate": 1e-4,
        "rows": STEPS * rows,
        "batch_rows": rows,
        "warmup": 0.05,
        "decay": 0.2,
        "slope_bound": 0.05,
        "similarity_bound": 0.95,
        "compute_dtype": dtype,
        **sparsity,
    }
    parameters = initial_parameters(first_directions("random", n, d, 0, lambda: x), torch.zeros(d))
    stack = Stack(
        [Learner(Planned("hook", Path("bench"), DictionarySettings(**settings)), parameters, torch.device("cpu"), 1)]
    )
    mean = x.mean(0)
    return lambda: stack.train_on(x, (x - mean).square_().sum())


def sae_lens(kind: str, x: torch.Tensor, n: int, k: int, dtype: str) -> Step:
    import sae_lens as lens  # type: ignore[reportMissingImports]
    from sae_lens.config import SAETrainerConfig  # type: ignore[reportMissingImports]
    from sae_lens.training.sae_trainer import SAETrainer  # type: ignore[reportMissingImports]

    rows, d = x.shape
    shape = {"d_in": d, "d_sae": n}
    sae = {
        "relu": lambda: lens.StandardTrainingSAE(lens.StandardTrainingSAEConfig(**shape)),
        "topk": lambda: lens.TopKTrainingSAE(lens.TopKTrainingSAEConfig(**shape, k=k)),
        "batchtopk": lambda: lens.BatchTopKTrainingSAE(lens.BatchTopKTrainingSAEConfig(**shape, k=k)),
    }[kind]()
    config = SAETrainerConfig(
        total_training_samples=STEPS * rows,
        train_batch_size_samples=rows,
        lr_end=3e-5,  # a tenth of the rate, as its runner sets it
        autocast=dtype == "bfloat16",
    )
    trainer = SAETrainer(config, sae, iter(lambda: x, None))

    def step() -> None:  # the loop of `fit`, without logging
        trainer.step(next(trainer.data_provider))
        trainer._checkpoint_if_needed()
        trainer.n_training_steps += 1

    return step


def dictionary_learning(kind: str, x: torch.Tensor, n: int, k: int, dtype: str) -> Step:
    from dictionary_learning.trainers.standard import StandardTrainer  # type: ignore[reportMissingImports]
    from dictionary_learning.trainers.top_k import TopKTrainer  # type: ignore[reportMissingImports]

    options = {"steps": STEPS, "activation_dim": x.shape[1], "dict_size": n, "layer": 0, "lm_name": "", "device": "cpu"}
    trainer = StandardTrainer(**options) if kind == "relu" else TopKTrainer(**options, k=k)
    done = iter(range(STEPS))
    return lambda: trainer.update(next(done), x)


def sparsify(kind: str, x: torch.Tensor, n: int, k: int, dtype: str) -> Step:
    from sparsify import SaeConfig  # type: ignore[reportMissingImports]
    from sparsify.sparse_coder import SparseCoder  # type: ignore[reportMissingImports]
    from transformers import get_linear_schedule_with_warmup

    sae = SparseCoder(x.shape[1], SaeConfig(num_latents=n, k=k), dtype=torch.float32)
    sae.b_dec.data = x.mean(0)
    adam = torch.optim.Adam(sae.parameters(), lr=2e-4 / (n / 2**14) ** 0.5)
    schedule = get_linear_schedule_with_warmup(adam, 1000, STEPS)
    silent = torch.zeros(n, dtype=torch.long)

    def step() -> None:
        did_fire = torch.zeros(n, dtype=torch.bool)
        if sae.cfg.normalize_decoder:
            sae.set_decoder_norm_to_unit_norm()
        variance = (x - x.mean(0)).pow(2).sum()
        out = sae(x=x, y=x, dead_mask=silent > 10_000_000, total_variance=variance)
        did_fire[out.latent_indices.flatten()] = True
        (out.fvu + out.auxk_loss / 32 + out.multi_topk_fvu / 8).backward()
        if sae.cfg.normalize_decoder:
            sae.remove_gradient_parallel_to_decoder_directions()
        adam.step()
        adam.zero_grad()
        schedule.step()
        silent.add_(len(x))
        silent[did_fire] = 0

    return step


TRAINERS = {
    "winnow": winnow,
    "sae_lens": sae_lens,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
}


def main() -> None:
    name, *sizes = sys.argv[1:]
    trainer, kind, dtype = name.split("/")
    rows, d, n, k = map(int, sizes)
    x = torch.randn(rows, d, generator=torch.Generator().manual_seed(0))
    out, sys.stdout = sys.stdout, sys.stderr  # keep what libraries print out of the answers
    step = TRAINERS[trainer](kind, x, n, k, dtype)
    step()  # allocators and caches warm up
    print("ready", file=out, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(time.perf_counter() - started, file=out, flush=True)


if __name__ == "__main__":
    main()
