"""Dictionaries of a miniature run, of random directions, and what its report says."""

import json

import torch

from analyze.compare.cosines import unit
from tests.experiments import ROOT
from winnow.dictionary import Dictionary, save_dictionary

HOOK = "blocks.1.hook_resid_post"


def add_dictionary(run, n_latents, seed=0, dead=False, control=None):
    generator = torch.Generator().manual_seed(n_latents + seed + (1000 if control else 0))
    directions = unit(torch.randn(n_latents, 32, generator=generator))
    dictionary = Dictionary(
        directions.T.contiguous(),
        torch.full((n_latents,), -1e6 if dead else 0.0),
        directions,
        torch.zeros(32),
        architecture="topk",
        k=8,
        hook=HOOK,
    )
    name = f"topk-{n_latents}-k8" + (f"-{control}" if control else "")
    folder = run / "dictionaries" / HOOK / f"{name}-seed{seed}"
    settings = {"architecture": "topk", "n_latents": n_latents, "k": 8, "seed": seed}
    settings |= {"control": control} if control else {}
    save_dictionary(dictionary, folder, {}, {"settings": settings, "rows": 5000})
    lines = [{"rows": 100 * i, "loss": 1 / i, "mse": 1, "fvu": 0.5, "l0": 8, "dead": 0} for i in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(config, folder="report"):
    return json.loads((ROOT / config.run / folder / "metrics.json").read_text())
