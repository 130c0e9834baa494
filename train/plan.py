"""Which dictionaries a configuration asks for, and how far each has come; read without waiting for torch.

dictionaries/<hook>/<name>/   name: architecture-n_latents-sparsity-seed, for instance topk-1024-k32-seed0
  cfg.json          there once it is finished
  training.json     settings and provenance
  failed.json       there where its loss was not finite: settings, rows, loss
  checkpoints/      state of the unfinished (train/checkpoint.py)
  shards/           the same, where several processes share it (train/sharded.py)
  snapshots/        dictionaries as they were on the way, where asked for (train/snapshots.py)
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from train.schedule import CONVERGED, fewest_rows
from train.settings import AUTO_DTYPE, DictionarySettings
from winnow.config.experiment import LEAST_SQUARES, TRANSPOSE, Dictionaries, EncoderStart, Experiment
from winnow.errors import UserError, nearest, refuse_changed
from winnow.fields import read_fields
from winnow.shards.fingerprint import fingerprints
from winnow.shards.norms import bound_for

FAILED = "failed.json"
SHARDS = "shards"  # folder of an unfinished dictionary that processes share: 0-of-2, 1-of-2 (train/sharded.py)
SPARSITY = {
    "k": "k",
    "l1_coefficient": "l1_",
    "l0_coefficient": "l0_",
    "noise": "noise",
}  # setting -> how a name begins to say it
ABBREVIATIONS = {
    "learning_rate": "lr",
    "bandwidth": "bandwidth",
    "auxk_coefficient": "auxk",
    "resample_rows": "resample",
    "gradient_norm": "clip",
}
BANDWIDTH = 0.1  # of activations with mean norm sqrt(d_model)
AUXK = 1 / 32  # Gao et al. 2024
THRESHOLD_ROWS = 32_768  # a hundredth of a short training's work; the L0 that follows is right to 1 %
AUTO = "auto"  # rows between resamplings: an eighth of the training's
MAX_ROWS = 200_000_000
GRADIENT_NORM = 1.0
ENCODER_STARTS: dict[str, EncoderStart] = {
    "relu": 0.1,
    "topk": LEAST_SQUARES,
    "batchtopk": LEAST_SQUARES,
    "jumprelu": 0.1,
    "gated": 0.1,
    "matryoshka": LEAST_SQUARES,
}
NAME_DEFAULTS = {
    "learning_rate": Dictionaries.model_fields["learning_rate"].default,
    "bandwidth": BANDWIDTH,
    "auxk_coefficient": AUXK,
    "resample_rows": AUTO,
    "gradient_norm": GRADIENT_NORM,
}
SHARED = (  # by all dictionaries of a run, by the names of `[train]`
    *("rows", "slope_bound", "similarity_bound", "batch_rows", "scale_activations", "compute_dtype", "warmup", "decay"),
    *("held_out_rows", "window_mib"),
)


class Planned(NamedTuple):
    """One dictionary to be: where it goes, and all that its weights depend on."""

    hook: str
    folder: Path
    settings: DictionarySettings

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def begun_before(self) -> bool:
        """Whether an older version began it, which clipped no gradients, and whose name does not say so."""
        return self.name != _name(self.settings)

    @property
    def finished(self) -> bool:
        return (self.folder / "cfg.json").exists()

    @property
    def failed(self) -> bool:
        return (self.folder / FAILED).exists()


def plan_dictionaries(config: Experiment, manifest: Mapping[str, Any], folder: Path) -> list[Planned]:
    """List every dictionary that the configuration asks for, by hook in the order of the harvest.

    Raises `UserError` for a pattern that matches no harvested hook, and for two dictionaries of one name.
    """
    if not config.train.dictionaries:
        raise UserError("train.dictionaries: none is asked for; add a table [[train.dictionaries]]")
    shared = {name: getattr(config.train, name) for name in SHARED}
    if config.train.rows == CONVERGED:
        shared["max_rows"] = MAX_ROWS if config.train.max_rows is None else config.train.max_rows
    shared |= {"order_seed": config.seed, "activations": fingerprints(manifest)[0]}
    shared |= {"massive_norm": bound_for(manifest, config.massive_norm)}
    planned: dict[Path, Planned] = {}
    for number, grid in enumerate(config.train.dictionaries):
        for hook in _matching(grid.hooks, list(manifest["hooks"]), f"train.dictionaries.{number}.hooks"):
            for asked in (*_combinations(grid, shared), *_controls(grid, shared)):
                path, settings = _as_begun(folder / hook, asked, grid)
                settings = dataclasses.replace(settings, activations=_named_before(path, fingerprints(manifest)))
                if path in planned:
                    raise UserError(
                        f"train.dictionaries.{number}: {hook}/{path.name} is asked for twice; remove one of them"
                    )
                planned[path] = Planned(hook, path, settings)
    order = list(manifest["hooks"])
    return _in_dtype_as_begun(sorted(planned.values(), key=lambda p: order.index(p.hook)))


def _in_dtype_as_begun(planned: list[Planned]) -> list[Planned]:
    """Let dictionaries whose dtype is left open go on in the one they began in, and new ones of the run in that too.

    Where nothing was begun, the device decides (train/compute_dtype.py).
    """
    left_open = [number for number, one in enumerate(planned) if one.settings.compute_dtype == AUTO_DTYPE]
    begun = {number: path for number in left_open for path in _records(planned[number].folder)[:1]}
    dtypes = {number: DictionarySettings.from_json(_settings_in(path)).compute_dtype for number, path in begun.items()}
    for number in left_open if dtypes else ():
        one = planned[number]
        dtype = dtypes.get(number, next(iter(dtypes.values())))
        planned[number] = one._replace(settings=dataclasses.replace(one.settings, compute_dtype=dtype))
    return planned


def refuse_other_settings(planned: Iterable[Planned]) -> None:
    """Raise `UserError` naming the first setting in which what is on disk differs from what is asked for."""
    for dictionary in planned:
        for path in _records(dictionary.folder):
            refuse_other(dictionary, _settings_in(path))


def refuse_other(planned: Planned, recorded: Mapping[str, Any]) -> None:
    """Raise `UserError` naming the first setting in which a file's record differs from what is asked for."""
    made_with = dataclasses.asdict(DictionarySettings.from_json(recorded))
    refuse_changed(planned.folder, made_with, dataclasses.asdict(planned.settings))


def _as_begun(folder: Path, asked: DictionarySettings, grid: Dictionaries) -> tuple[Path, DictionarySettings]:
    """Return where a dictionary goes, and its settings; one that an older version began goes on as it was begun.

    Before there was a setting for clipping, gradients were not clipped; before there was one for the encoder's start,
    the encoder began as the decoder's transpose, and thresholds were not estimated again. Names said nothing of it.
    Where the configuration asks for nothing else, a dictionary that was begun then goes on like that.
    """
    path = folder / _name(asked)
    usual = dataclasses.replace(asked, gradient_norm=GRADIENT_NORM)
    unnamed = folder / _name(dataclasses.replace(usual, encoder_start=default_start(asked)))
    for place in dict.fromkeys((path, folder / _name(usual), unnamed)):
        before = None if grid.gradient_norm else _begun_before(place)
        if before is not None:
            start = before.get("encoder_start", TRANSPOSE)
            if start == asked.encoder_start or (grid.encoder_start is None and start == TRANSPOSE):
                begun = {"encoder_start": start, "gradient_norm": 0.0, "threshold_rows": before.get("threshold_rows")}
                return place, dataclasses.replace(asked, **begun)
        elif place == path and path.exists():
            break
    return path, asked


def _begun_before(folder: Path) -> dict[str, Any] | None:
    """Return the settings in a dictionary's records where those are older than `gradient_norm`; None where not."""
    # once it has gone on, they say 0
    return next((found for found in map(_settings_in, _records(folder)) if not found.get("gradient_norm")), None)


def _named_before(folder: Path, names: Sequence[str]) -> str:
    """Choose among fingerprints of one store: the one by which a dictionary's records know it, or else the first."""
    recorded = [_settings_in(path).get("activations") for path in _records(folder)]
    return next((name for name in names if name in recorded), names[0])


def _settings_in(path: Path) -> dict[str, Any]:
    """Read the settings in a file of a dictionary. Raises `UserError` where it is no such file."""
    remedy = f"restore it, or delete {path.parent}, and train again"
    settings = read_fields(path, remedy).object("settings").all
    try:
        DictionarySettings.from_json(settings)
    except UserError as error:
        raise UserError(f"{path}: {error}; {remedy}") from error
    return settings


def _records(folder: Path) -> list[Path]:
    """List the files of a dictionary's folder that hold its settings."""
    # a kill may leave half a checkpoint in a .partial, which the names of complete ones do not match
    states = sorted(folder.glob("checkpoints/rows-*[0-9]/state.json"))
    states += sorted(folder.glob(f"{SHARDS}/*/checkpoints/rows-*[0-9]/state.json"))
    return [path for path in (folder / "training.json", folder / FAILED, *states) if path.exists()]


def default_start(settings: DictionarySettings | Dictionaries) -> EncoderStart:
    """Return the encoder's start of a dictionary, or of a grid, where the configuration names none."""
    return TRANSPOSE if settings.tied else ENCODER_STARTS[settings.architecture]


def _matching(patterns: Iterable[str], hooks: list[str], key: str) -> list[str]:
    chosen: list[str] = []
    for pattern in patterns:
        matching = [hook for hook in hooks if fnmatchcase(hook, pattern)]
        if not matching:
            raise UserError(
                f"{key}: no hook {pattern} among those of harvest.hooks{nearest(pattern, hooks)}; "
                f"those are {', '.join(hooks)}"
            )
        chosen += [hook for hook in matching if hook not in chosen]
    return chosen


def _combinations(grid: Dictionaries, shared: Mapping[str, Any]) -> Iterable[DictionarySettings]:
    sparsity = next(name for name in SPARSITY if getattr(grid, name))
    options: dict[str, Any] = {"tied": bool(grid.tied), "l1_reduction": grid.l1_reduction or "sum"}
    if grid.architecture == "jumprelu":
        options["bandwidth"] = BANDWIDTH if grid.bandwidth is None else grid.bandwidth
    if grid.architecture in ("relu", "gated"):
        options["resample_rows"] = AUTO if grid.resample_rows is None else grid.resample_rows
    if sparsity == "k":
        options["auxk_coefficient"] = AUXK if grid.auxk_coefficient is None else grid.auxk_coefficient
    if grid.architecture in ("batchtopk", "matryoshka"):
        options["threshold_rows"] = THRESHOLD_ROWS
    values: list[float] = getattr(grid, sparsity)
    noises: list[float | None] = [*grid.noise] if grid.noise else [None]
    sizes = itertools.product(grid.n_latents, values, noises)
    encoders = grid.encoder_start or [default_start(grid)]
    starts = itertools.product(grid.initialisation, encoders, grid.seed)
    for (n_latents, value, noise), (initialisation, encoder_start, seed) in itertools.product(sizes, starts):
        yield DictionarySettings(
            architecture=grid.architecture,
            n_latents=n_latents,
            **{sparsity: value},
            noise=noise,
            seed=seed,
            learning_rate=grid.learning_rate,
            initialisation=initialisation,
            encoder_start=encoder_start,
            gradient_norm=GRADIENT_NORM if grid.gradient_norm is None else grid.gradient_norm,
            b_dec=grid.b_dec,
            **options,
            **shared,
        )


def _controls(grid: Dictionaries, shared: Mapping[str, Any]) -> Iterable[DictionarySettings]:
    """Choose the controls of a grid: the middle size and sparsity, the lower of two, and the first of all else.

    What is frozen stays at its random start, whatever the grid's initialisation, and is not resampled.
    """
    sparsity = "noise" if grid.noise else next(name for name in SPARSITY if getattr(grid, name))
    first = {name: [getattr(grid, name)[0]] for name in ("seed", "initialisation")}
    start = {"encoder_start": grid.encoder_start and grid.encoder_start[:1]}
    middle = {name: [_middle(getattr(grid, name))] for name in ("n_latents", sparsity)}
    (one,) = _combinations(grid.model_copy(update=first | start | middle), shared)
    for control in grid.control:
        own = dataclasses.replace(one, control=control)
        if own.frozen:
            own = dataclasses.replace(own, initialisation="random", resample_rows=None)
        yield own


def _middle(values: list[Any]) -> Any:
    return sorted(values)[(len(values) - 1) // 2]


def _name(own: DictionarySettings) -> str:
    """Name a dictionary by its architecture, size, sparsity and seed, and by what else is not usual about it."""
    values = {name: getattr(own, name) for name in ABBREVIATIONS}
    unusual = [
        f"{ABBREVIATIONS[name]}{value:g}"
        for name, value in values.items()
        if value is not None and value != NAME_DEFAULTS[name]
    ]
    sparsity, value = own.sparsity
    parts = [
        own.architecture + ("-tied" if own.tied else ""),
        own.n_latents,
        f"{'l1mean_' if own.l1_reduction == 'mean' else SPARSITY[sparsity]}{value:g}",
        *unusual,
        *([] if own.initialisation == "random" else [own.initialisation]),
        *([] if own.encoder_start == default_start(own) else [_start_name(own.encoder_start)]),
        *([] if own.b_dec == "mean" else ["no_b_dec" if own.b_dec == "none" else own.b_dec]),
        *([] if own.control is None else [own.control]),
        f"seed{own.seed}",
    ]
    return "-".join(map(str, parts))


def _start_name(start: EncoderStart) -> str:
    return start if isinstance(start, str) else f"encoder{start:g}"


def rows_between_logs(settings: DictionarySettings) -> int:
    """Choose how often the curve gets a point: 200 times by the earliest end, and never twice a batch."""
    return max(settings.batch_rows, int(fewest_rows(settings)) // 200)
