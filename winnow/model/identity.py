"""What a model is, whatever path it was named by: read from its files, without torch.

A model on the hub is its name and its revision. A local folder is what lies in it: the weights, config.json, and for
tokens the tokenizer. So a folder may move, and be spelt as one likes; other weights in the same place are noticed. The
hash that counts is that of the weights in the compute dtype (`LanguageModel.weight_hash`), for which the model must be
opened; where its files are those of the harvest, it need not be.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from winnow.config.experiment import Experiment, ModelSettings
from winnow.errors import refuse_changed
from winnow.model.files import config_hash, files_hash
from winnow.runtime.remembered import remember_weights, remembered_weights
from winnow.runtime.run import Run
from winnow.shards.manifest import Manifest

NAME, REVISION = "model.name", "model.revision"


def same_place(one: str, other: str) -> bool:
    """Say whether two paths are one, spelt in two ways."""
    return Path(one).resolve() == Path(other).resolve()


def named_as(config: Experiment, manifest: Manifest) -> dict[str, Any]:
    """Give model.name and model.revision for a comparison: as the run's manifest has them, where the model is the same.

    Raises `UserError` where a local folder has other weights or another configuration than the run was harvested with,
    wherever it lies. Toy data have no model.
    """
    if config.toy is not None or manifest.model is None:
        return {}
    settings, made_by = config.model, manifest.model
    run = Run(Path(config.run))
    asked = {NAME: settings.name, REVISION: settings.revision}
    made = {name: manifest.settings.get(name) for name in asked}
    spelt_alike, folder = same_place(settings.name, str(made[NAME])), Path(settings.name)
    if spelt_alike and folder.is_dir() and not made_by.get("commit") and "files_sha256" not in made_by:
        return made  # made before it was kept: the model is checked when it is opened
    files = files_hash(run.path, folder) if folder.is_dir() else ""
    if not files:  # a name on the hub; or a model that is not here, so that nothing speaks against it
        return {**asked, NAME: made[NAME]} if spelt_alike else asked
    if made_by.get("files_sha256") != files:
        _refuse_other(settings, files, made_by, run)
    return made


def _refuse_other(settings: ModelSettings, files: str, made_by: Mapping[str, Any], run: Run) -> None:
    """Compare weights, which may be the same in other files. Raises `UserError` where they, or the config, differ."""
    if made_by.get("config_sha256"):
        config = "config_sha256 of the model"
        refuse_changed(run.activations, {config: made_by["config_sha256"]}, {config: config_hash(Path(settings.name))})
    dtype = made_by["dtype"]  # another one is refused by its own name
    weights = remembered_weights(run.path, files, dtype)
    if weights is None:
        from winnow.model.language_model import weight_hash  # it loads torch and the model

        weights = weight_hash(settings.model_copy(update={"dtype": dtype}))
        remember_weights(run.path, files, dtype, weights)
    name = "weights_sha256 of the model"
    refuse_changed(run.activations, {name: made_by["weights_sha256"]}, {name: weights})
