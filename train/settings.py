"""The settings of one dictionary: all that its weights depend on, and the rule by which its training ends.

They stand in its training.json, failed.json and checkpoints under the names here; what has no meaning for it is left
out there. Read without waiting for torch.
"""

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from winnow.config.dtypes import ComputeDType
from winnow.config.experiment import (
    TRANSPOSE,
    Architecture,
    Control,
    Dictionaries,
    EncoderStart,
    Experiment,
    Initialisation,
    TrainSettings,
)
from winnow.errors import UserError

LEGACY_NAMES = {"order seed": "order_seed"}  # up to commit e1e5eee -> today
# what was so before there was a setting
LEGACY_DEFAULTS = {"scale_activations": True, "encoder_start": TRANSPOSE, "massive_norm": 0.0, "gradient_norm": 0.0}
Resolved = Literal["float32", "bfloat16", "tf32"]  # what `compute_dtype` is once the device is known
AUTO_DTYPE = "auto"
GAUSSIAN_ROWS = "gaussian_rows"
FROZEN = {"frozen_decoder": ("W_dec",), "frozen_encoder": ("W_enc",)}  # control -> parameters
_TRAIN = {name: field.default for name, field in TrainSettings.model_fields.items()}
_GRID = {name: field.default for name, field in Dictionaries.model_fields.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DictionarySettings:
    """One dictionary of the grids in `[[train.dictionaries]]`; where nothing is given, it is as the file's defaults."""

    architecture: Architecture
    n_latents: int
    k: int | None = None
    l1_coefficient: float | None = None
    l0_coefficient: float | None = None
    noise: float | None = None  # standard deviation of the input's noise, in that of the activations
    seed: int = 0
    control: Control | None = None  # what it is a control for; None: none, it is trained to be used
    learning_rate: float = _GRID["learning_rate"]
    initialisation: Initialisation = "random"
    encoder_start: EncoderStart = TRANSPOSE
    gradient_norm: float = 0.0  # to which a longer gradient is shortened; 0: none is
    b_dec: Literal["mean", "geometric_median", "none"] = _GRID["b_dec"]
    tied: bool = False
    l1_reduction: Literal["sum", "mean"] = "sum"
    bandwidth: float | None = None
    resample_rows: int | Literal["auto"] | None = None
    auxk_coefficient: float | None = None
    threshold_rows: int | None = None  # batchtopk: over which the threshold is estimated at the end; None: it is not
    rows: int | Literal["converged"] = _TRAIN["rows"]
    max_rows: int | None = None  # set where rows = "converged"
    slope_bound: float = _TRAIN["slope_bound"]
    similarity_bound: float = _TRAIN["similarity_bound"]
    batch_rows: int = _TRAIN["batch_rows"]
    scale_activations: bool = _TRAIN["scale_activations"]
    compute_dtype: ComputeDType = "float32"  # auto, until the device is known (train/compute_dtype.py)
    warmup: float = _TRAIN["warmup"]
    decay: float = _TRAIN["decay"]
    held_out_rows: int | Literal["auto"] = _TRAIN["held_out_rows"]
    window_mib: int = _TRAIN["window_mib"]
    # 0 where the store was harvested before norms were kept
    massive_norm: float = Experiment.model_fields["massive_norm"].default
    order_seed: int = 0  # of the order of rows
    activations: str = ""  # fingerprint of the store

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any]) -> "DictionarySettings":
        """Read what `to_json` gave, here or in an older version; keys of a later version are left aside.

        Raises `UserError` naming the setting that is missing or has another type.
        """
        named = {LEGACY_NAMES.get(name, name): value for name, value in recorded.items()}
        known = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in {**LEGACY_DEFAULTS, **named}.items() if name in known}
        try:
            return _adapter().validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            wrong = error.errors()[0]
            name = str(wrong["loc"][0]) if wrong["loc"] else "settings"
            shown = repr(values[name])[:60] if name in values else "no such setting"
            raise UserError(f"settings.{name}: {wrong['msg']}, found {shown}") from error

    def to_json(self) -> dict[str, Any]:
        """Give the settings by name, but for those that have no meaning here or are off."""
        settings = dataclasses.asdict(self)
        off = {
            "tied": False,
            "l1_reduction": "sum",
            "massive_norm": 0.0,
        }  # not written where they are so: older files have no such key
        return {name: value for name, value in settings.items() if value != off.get(name)}

    @property
    def frozen(self) -> tuple[str, ...]:
        """The parameters that stay as they start."""
        return FROZEN.get(self.control or "", ())

    @property
    def sparsity(self) -> tuple[Literal["k", "l1_coefficient", "l0_coefficient", "noise"], int | float]:
        """The setting that says how sparse it is, and its value."""
        if self.noise is not None:
            return "noise", self.noise
        if self.k is not None:
            return "k", self.k
        if self.l1_coefficient is not None:
            return "l1_coefficient", self.l1_coefficient
        assert self.l0_coefficient is not None, self
        return "l0_coefficient", self.l0_coefficient


@cache
def _adapter() -> Any:
    """Return what checks the types of settings; dictionaries pass for them in JSON alone."""
    return TypeAdapter(DictionarySettings)
