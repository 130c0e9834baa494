"""The table `[toy]`: every assumption of toy data is a setting, described with its reason.

The defaults are the reference of the published sweep (Sharkey et al. 2022). Nothing here imports torch.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from winnow.config.section import Count, Natural, Positive, Section

Share = Annotated[float, Field(ge=0, le=1)]


class ToySettings(Section):
    """Synthetic activations with known features, in place of a language model's."""

    rows: Count = Field(default=1_000_000, description="rows in the store; held-out rows come behind them")
    held_out_rows: Count = Field(
        default=256,
        description="rows behind those of the store, never harvested; analyze measures on them (not "
        "train.held_out_rows, which are rows of the store that train evaluates on)",
    )
    d_model: Count = Field(default=256, description="dimensions h; few, so that a sweep is quick")
    n_features: Count = Field(
        default=512,
        description="ground-truth features G; more than dimensions, because dictionaries are for superposition",
    )
    active: Positive = Field(
        default=5.0,
        description="features active in a row, on average (k); few, because only sparsity lets one separate them",
    )
    directions: Literal["sphere", "learned", "antipodal"] = Field(
        default="sphere",
        description="directions of the features; sphere: uniformly random; learned: as a small autoencoder packs "
        "features that fire one at a time, with fewer positive overlaps than random ones; antipodal: a share of them "
        "in opposite pairs, which costs nothing if the two never fire together",
    )
    antipodal_share: Share = Field(
        default=0.5, description="antipodal: share of the features that belong to a pair; half, to have both kinds"
    )
    decay: float = Field(
        default=0.99,
        gt=0,
        le=1,
        description="λ, how fast features become rarer: most words and topics are rare; 1 gives all features the same "
        "frequency",
    )
    decay_form: Literal["geometric", "power"] = Field(
        default="geometric",
        description="probability of feature i from its uniform u, rescaled to the mean number active; geometric: "
        "u·λ^i, as published; power: u^(λ·i), with a heavier tail, like that of words",
    )
    common: Share = Field(
        default=0.5,
        description="share of the variance of a feature's normal that comes from shared causes: features of one topic "
        "fire together; 0: they fire independently",
    )
    causes: Count = Field(
        default=32,
        description="number of shared causes, such as topics; with fewer, features correlate more (root mean square "
        "correlation of their normals: common / √causes)",
    )
    magnitude: Literal["uniform", "half-normal", "constant"] = Field(
        default="uniform",
        description="how strongly an active feature fires: uniform on [0, 1], as published, |normal|, or 1; real "
        "magnitudes vary, and a threshold confuses small ones with interference",
    )
    seed: Natural = Field(
        default=0, description="seed of directions, correlations and rows, each from its own random stream"
    )

    @model_validator(mode="after")
    def _can_be_active(self) -> "ToySettings":
        total = sum(self.mean_before_scale())
        if self.active > total:
            raise ValueError(
                f"active = {self.active:g}: with decay {self.decay:g} ({self.decay_form}) at most {total:.3g} of "
                f"{self.n_features} features can be active on average; choose less decay or more features"
            )
        return self

    def of_the_rows(self) -> dict[str, Any]:
        """Dump, as JSON has them, the settings that a row depends on: all but how many rows are held out."""
        return self.model_dump(mode="json", exclude={"held_out_rows"})

    def mean_before_scale(self) -> list[float]:
        """Average u·λ^i, or u^(λ·i), over u uniform on [0, 1], for each feature."""
        if self.decay_form == "geometric":
            return [self.decay**i / 2 for i in range(self.n_features)]
        return [1 / (1 + self.decay * i) for i in range(self.n_features)]

    @property
    def scale(self) -> float:
        """The factor, at most 1, that makes `active` features fire on average; exact, not estimated from a batch."""
        return self.active / sum(self.mean_before_scale())
