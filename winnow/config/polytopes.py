"""The table `[polytopes]`: which experiments on the model's polytopes are made, and how large they are.

Nothing here imports torch. Layers and hooks are checked against the model when it is opened.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from winnow.config.positions import PositionPolicy
from winnow.config.section import Count, Natural, OneOrMore, Positive, Section

ExperimentName = Literal["codes", "clusters", "maps", "scaling", "density", "radius", "regions", "adversaries"]
EXPERIMENT_NAMES: list[ExperimentName] = [
    *("codes", "clusters", "maps", "scaling"),
    *("density", "radius", "regions", "adversaries"),
]
MOST_CLUSTERED = 20_000  # rows: their distances take 8 bytes a pair, and are held twice
Representation = Annotated[str, Field(pattern=r"^(post:(\*|\d+)|code:(\*|all|\d+|\d+-\d+))$")]
Hook = Annotated[str, Field(pattern=r"^(hook_embed|blocks\.(\*|\d+)\.[a-z_.]+)$")]


def _from_low_to_high(representations: list[str]) -> list[str]:
    for name in representations:
        low, dash, high = name.partition(":")[2].partition("-")
        if dash and int(low) >= int(high):
            raise ValueError(f"{name}: a range goes from a lower layer to a higher one")
    return representations


class ClusterSettings(Section):
    """Clusters of rows by activations and by codes."""

    representations: Annotated[list[Representation], *OneOrMore, AfterValidator(_from_low_to_high)] = Field(
        default=["post:*", "code:*", "code:all"],
        description="what is clustered: post:L, a layer's activations behind its gate; code:L, its on/off bits; "
        "code:L-M, the bits of layers L to M joined; code:all, those of all layers; *: each layer",
    )
    method: Annotated[list[Literal["hdbscan", "kmeans"]], *OneOrMore] = Field(
        default=["hdbscan"], description="hdbscan (some rows are in no cluster), kmeans (every row is in one)"
    )
    min_cluster_size: int = Field(default=8, ge=2, description="hdbscan: rows of a cluster, at least")
    min_samples: Count = Field(default=3, description="hdbscan: how many near rows make a place dense")
    rows: Annotated[int, Field(gt=0, le=MOST_CLUSTERED)] = Field(
        default=4_000, description="rows clustered, at most; their distances take 8 bytes a pair"
    )


class ScalingSettings(Section):
    """How far a row may be scaled before the model's output changes."""

    hooks: Annotated[list[Hook], *OneOrMore] = Field(
        default=["blocks.*.hook_resid_post", "blocks.*.mlp.hook_in", "blocks.*.mlp.hook_post"],
        description="hooks at which rows are scaled; *: each of polytopes.layers",
    )
    rows: Count = Field(default=80, description="rows scaled, each at its own position")
    octaves: Annotated[int, Field(gt=0, le=8)] = Field(
        default=3, description="factors from 2^-octaves to 2^octaves, four to an octave"
    )
    tolerance: Positive = Field(default=0.1, description="nats of KL by which the output may change")


class DensitySettings(Section):
    """How densely boundaries lie between rows of one label and of different labels."""

    labels: Annotated[list[Literal["prediction", "token", "next"]], *OneOrMore] = Field(
        default=["prediction", "token"],
        description="labels of rows: prediction (the model's), token (at the position), next (the true one)",
    )
    pairs: Count = Field(default=3_000, description="pairs of rows of one label, at most; 40 a label at most")


class RegionSettings(Section):
    """How well a lookup among affine maps stands in for a layer."""

    centres: Annotated[list[Count], *OneOrMore] = Field(
        default=[1, 4, 16, 64, 256], description="numbers of affine maps; the one of the nearest centre applies"
    )
    rows: Count = Field(
        default=25_000, description="rows of harvested sequences: 70 % to fit maps on, 20 % to measure them on"
    )


class AdversarySettings(Section):
    """Whether small steps that change the output most cross many boundaries."""

    hooks: Annotated[list[Hook], *OneOrMore] = Field(
        default=["blocks.0.hook_resid_pre", "blocks.2.hook_resid_pre"], description="hooks at which a step is added"
    )
    relative_norms: Annotated[list[Positive], *OneOrMore] = Field(
        default=[0.03, 0.1, 0.3], description="lengths of steps, as shares of the row's own norm"
    )
    rows: Count = Field(default=64, description="rows, each at its own position")


class PolytopesSettings(Section):
    """The polytopes of a language model, measured by `python -m polytopes`."""

    layers: Literal["all"] | Annotated[list[Natural], *OneOrMore] = Field(
        default="all", description="layers whose MLPs are looked at: all, or a list of numbers"
    )
    experiments: Annotated[list[ExperimentName], *OneOrMore] = Field(
        default=EXPERIMENT_NAMES, description="which to make: " + ", ".join(EXPERIMENT_NAMES)
    )
    rows: Count = Field(default=4_000, description="rows of every experiment but regions, held-out ones first")
    positions: PositionPolicy = Field(
        default=PositionPolicy(skip_first=20, evenly=6), description="positions of a sequence that rows come from"
    )
    untrained: bool = Field(
        default=True, description="measure also a twin of the model with random weights, as a control"
    )
    clusters: ClusterSettings = ClusterSettings()
    scaling: ScalingSettings = ScalingSettings()
    density: DensitySettings = DensitySettings()
    regions: RegionSettings = RegionSettings()
    adversaries: AdversarySettings = AdversarySettings()

    @model_validator(mode="after")
    def _rows_suffice(self) -> "PolytopesSettings":
        for name in ("clusters", "scaling", "adversaries"):
            section = getattr(self, name)
            # a default, which means as many as there are, stands in the file that a stage writes into its run
            if section.rows > self.rows and section.rows != type(section).model_fields["rows"].default:
                raise ValueError(
                    f"{name}.rows = {section.rows:,} is more than polytopes.rows = {self.rows:,}, of which they are"
                )
        return self
