"""What `metrics.json` says of one dictionary: what it is, its quality, and what stands beside it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from analyze.activations.toy_assumptions import assumptions
from analyze.compare.cosines import mean_cosines
from analyze.compare.stitching import shrinkage
from analyze.device import comparing_device
from analyze.dictionary.baselines import Simpler
from analyze.dictionary.convergence import convergence
from analyze.dictionary.snapshots import development
from analyze.evaluation.evaluate import Evaluation
from analyze.evaluation.quality import QUANTILES, quantile
from analyze.evaluation.rows import EvaluationRows
from analyze.evaluation.sample import store_sample
from analyze.truth.known_truth import KnownTruth
from winnow.dictionary import Dictionary
from winnow.dictionary_files import read_curve

SPARSITY = ("k", "l1_coefficient", "l0_coefficient", "noise")
NAMED_ELSEWHERE = ("architecture", "n_latents", "seed", *SPARSITY)
OF_THE_TRAINING = (  # settings that say how long and how fast it was trained, not what kind of dictionary it is
    *(
        "rows",
        "batch_rows",
        "learning_rate",
        "warmup",
        "decay",
        "window_mib",
        "order seed",
        "order_seed",
        "activations",
    ),
    *("dtype", "held_out_rows", "slope_bound", "similarity_bound", "max_rows", "snapshots", "checkpoint_rows"),
    *("scale_activations", "massive_norm"),
)


class Entries:
    """Compose entries; the baselines of a hook's dictionaries share what is fitted."""

    def __init__(self, held_out: EvaluationRows, truth: KnownTruth | None) -> None:
        self.held_out = held_out
        self.device = comparing_device(held_out.config.model.device)
        self.truth = truth
        self._simpler: dict[str, Simpler] = {}

    def of(self, path: str, dictionary: Dictionary, measured: Evaluation) -> dict[str, Any]:
        """Describe a dictionary under the names of `metrics.json`, docs/guide/analyze.md says what they mean."""
        record, quality = dictionary.provenance, measured.quality
        rows = self.held_out.sample(dictionary.hook)
        gamma = shrinkage(dictionary, rows).numpy()
        settings: Mapping[str, Any] = record.get("settings", {})
        architecture = settings.get("architecture", dictionary.architecture)
        codes, start = self._simpler_codes(dictionary.hook), settings.get("encoder_start", "transpose")
        simpler = codes.measure(dictionary.n_latents, quality.l0, architecture, start)
        living = dictionary.encode(rows)[:, quality.alive]
        directions = dictionary.W_dec.detach().float()[quality.alive.cpu()]
        cosine, signed = mean_cosines(directions.to(self.device))
        return {
            "path": path,
            "hook": dictionary.hook,
            "architecture": architecture,
            "n_latents": dictionary.n_latents,
            "d_model": dictionary.d_model,
            "seed": settings.get("seed"),
            "control": settings.get("control"),
            "sparsity": sparsity(settings),
            "options": options(settings),
            "learning_rate": settings.get("learning_rate"),
            "rows": record.get("rows"),
            "l0": quality.l0,
            "l0_quantiles": quality.l0_quantiles,
            "fvu": quality.fvu,
            "fvu_all_rows": quality.fvu_all_rows,
            "rows_left_out": quality.massive.rows,
            "fvu_uncentred": quality.fvu_uncentred,
            "fvu_rowwise": quality.fvu_rowwise,
            "mse": quality.mse,
            "l1": quality.l1(dictionary.W_dec.detach()),
            "alive_fraction": quality.alive_fraction,
            "dead_fraction": quality.dead_fraction,
            "decoder_cosine": cosine,
            "decoder_cosine_signed": signed,
            "density": quality.density(),
            "ce": measured.loss,
            "baselines": simpler._asdict(),
            "shrinkage": {str(q): quantile(gamma, q) for q in QUANTILES},
            "toy": assumptions(living, np.random.default_rng(self.held_out.config.seed)),
            "convergence": convergence(dictionary),
            "curve": training_curve(dictionary),
            "snapshots": development(dictionary, quality.alive, self.device),
            "truth": None if self.truth is None else self.truth.scores(dictionary, quality.alive),
        }

    def _simpler_codes(self, hook: str) -> Simpler:
        if hook not in self._simpler:
            seed = self.held_out.config.seed
            harvested = store_sample(self.held_out.harvested(hook))
            self._simpler[hook] = Simpler(harvested, self.held_out.sample(hook), seed)
        return self._simpler[hook]


def sparsity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the setting that says how sparse it is; noise takes the place of a penalty of 0."""
    found = {name: settings[name] for name in SPARSITY if settings.get(name) is not None}
    return {"noise": found["noise"]} if "noise" in found else found


def options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what distinguishes dictionaries of one architecture, size, sparsity and seed: initialisation, say."""
    if "initialisation" in settings:  # a record of the trainer's
        settings = {"encoder_start": "transpose", **settings}  # so it was before there was the setting
    return {k: v for k, v in settings.items() if k not in NAMED_ELSEWHERE + OF_THE_TRAINING and v is not None}


def training_curve(dictionary: Dictionary) -> dict[str, list[Any]]:
    """Read the training curve that stands beside the weights, one list per quantity."""
    names = ("rows", "loss", "fvu", "l0", "dead")
    assert dictionary.path is not None
    path = dictionary.path / "metrics.jsonl"
    points = read_curve(path) if path.exists() else []
    return {name: [point.get(name) for point in points] for name in names}
