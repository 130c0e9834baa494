"""The table `[toy]`: every assumption of toy data is a setting, described with its reason.

The defaults are the reference of the published sweep (Sharkey et al. 2022). Nothing here imports torch.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from winnow.config.section import Count, Positive, Section, Seed
from winnow.config.toy_rates import Forest, rates_at, solve_rates

Share = Annotated[float, Field(ge=0, le=1)]
Features = Annotated[int, Field(gt=0, le=2**20)]  # what is solved for each of them takes seconds then
LARGEST_MATRIX = 2**31  # numbers
LEGACY_VALUES: dict[str, Any] = {  # of settings that older stores do not name
    "roots": 0,
    "children": 4,
    "depth": 1,
    "children_share": 0.8,
    "siblings": "exclusive",
    "scale_by_parent": False,
    "zipf_exponent": 1.0,
    "magnitude_spread": 0.1,
}
MEANINGFUL_WITH = {  # which settings mean something only beside another
    "roots": ("children", "depth", "children_share", "siblings", "scale_by_parent"),
    "decay_form = zipf": ("zipf_exponent",),
    "magnitude = normal": ("magnitude_spread",),
}


class ToySettings(Section):
    """Synthetic activations with known features, in place of a language model's."""

    rows: Count = Field(default=1_000_000, description="rows in the store; held-out rows come behind them")
    held_out_rows: Count = Field(
        default=256,
        description="rows behind those of the store, never harvested; analyze measures on them (not "
        "train.held_out_rows, which are rows of the store that train evaluates on)",
    )
    d_model: Features = Field(default=256, description="dimensions h; few, so that a sweep is quick")
    n_features: Features = Field(
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
    decay_form: Literal["geometric", "power", "zipf"] = Field(
        default="geometric",
        description="probability of feature i from its uniform u, rescaled to the mean number active; geometric: "
        "u·λ^i, as published; power: u^(λ·i), with a heavier tail, like that of words; zipf: u / (i + 1)^s, the law of "
        "words, which has no λ",
    )
    zipf_exponent: Positive = Field(default=1.0, description="zipf: s; 1 for words; lower, and rare features are more")
    common: Share = Field(
        default=0.5,
        description="share of the variance of a feature's normal that comes from shared causes: features of one topic "
        "fire together; 0: they fire independently",
    )
    causes: Features = Field(
        default=32,
        description="number of shared causes, such as topics; with fewer, features correlate more (root mean square "
        "correlation of their normals: common / √causes)",
    )
    roots: int = Field(
        default=0,
        ge=0,
        le=2**20,
        description="features that are roots of a tree, the most frequent ones; a child fires only where its parent "
        "does, as golden retriever does where dog does, so that splitting and absorption can be told; 0: no trees",
    )
    children: Features = Field(default=4, description="children of each feature of a tree that is not a leaf")
    depth: int = Field(default=1, gt=0, le=64, description="levels of a tree below its root")
    children_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="share of a parent's rows on which its children fire, at most; below 1 the parent also fires alone",
    )
    siblings: Literal["exclusive", "independent"] = Field(
        default="exclusive",
        description="exclusive: of the children of one parent at most one fires in a row; independent: each on its own",
    )
    scale_by_parent: bool = Field(
        default=False,
        description="a child's magnitude is multiplied by its parent's, in units of the mean: a strong dog is a strong "
        "golden retriever",
    )
    magnitude: Literal["uniform", "half-normal", "constant", "normal"] = Field(
        default="uniform",
        description="how strongly an active feature fires: uniform on [0, 1], as published, |normal|, 1, or, normal: "
        "1 with a normal spread; real magnitudes vary, and a threshold confuses small ones with interference",
    )
    magnitude_spread: Positive = Field(default=0.1, le=1e30, description="normal: standard deviation of the magnitudes")
    seed: Seed = Field(
        default=0, description="seed of directions, correlations and rows, each from its own random stream"
    )

    @model_validator(mode="after")
    def _means_something(self) -> "ToySettings":
        """Refuse a setting that would be ignored; its default is not refused, since a resolved file names them all."""
        there = {
            "roots": self.roots > 0,
            "decay_form = zipf": self.decay_form == "zipf",
            "magnitude = normal": self.magnitude == "normal",
        }
        for other, names in MEANINGFUL_WITH.items():
            for name in names:
                if not there[other] and getattr(self, name) != LEGACY_VALUES[name]:
                    raise ValueError(f"{name} = {getattr(self, name)} has a meaning only with {other}; remove either")
        return self

    @model_validator(mode="after")
    def _held_in_memory(self) -> "ToySettings":
        for name in ("n_features", "causes"):
            if getattr(self, name) * self.d_model > LARGEST_MATRIX:
                raise ValueError(
                    f"{name} = {getattr(self, name):,} in d_model = {self.d_model:,} dimensions is a matrix of more "
                    f"than {LARGEST_MATRIX:,} numbers; choose fewer"
                )
        return self

    @model_validator(mode="after")
    def _trees_fit(self) -> "ToySettings":
        if self.roots and self.decay_form == "power":
            raise ValueError("roots: trees need decay_form = geometric or zipf, and it is power")
        if self.forest.size > self.n_features:
            raise ValueError(
                f"roots = {self.roots}: with {self.children} children each and depth {self.depth} the trees have "
                f"{self.forest.size:,} features, more than n_features = {self.n_features:,}; choose fewer"
            )
        return self

    @model_validator(mode="after")
    def _can_be_active(self) -> "ToySettings":
        before = tuple(self.mean_before_scale())
        total = sum(rates_at(before, 1.0, *self._sharing())[0])
        if self.active > total:
            slower = f"exponent {self.zipf_exponent:g}" if self.decay_form == "zipf" else f"decay {self.decay:g}"
            raise ValueError(
                f"active = {self.active:g}: with {slower} ({self.decay_form}) at most {total:.3g} of "
                f"{self.n_features} features can be active on average; choose less decay or more features"
            )
        return self

    @property
    def forest(self) -> Forest:
        """How the features are numbered in trees."""
        return Forest(self.roots, self.children, self.depth)

    def of_the_rows(self) -> dict[str, Any]:
        """Dump, as JSON has them, the settings that a row depends on: all but how many rows are held out.

        Settings that are newer than a store are left out at their legacy values, so that a store says the same of them.
        """
        found = self.model_dump(mode="json", exclude={"held_out_rows"})
        return {
            name: value for name, value in found.items() if name not in LEGACY_VALUES or value != LEGACY_VALUES[name]
        }

    def largest_before_scale(self) -> list[float]:
        """Give u·λ^i, u^(λ·i) or u / (i + 1)^s at u = 1, for each feature."""
        if self.decay_form == "zipf":
            return [(i + 1) ** -self.zipf_exponent for i in range(self.n_features)]
        return [self.decay**i if self.decay_form == "geometric" else 1.0 for i in range(self.n_features)]

    def mean_before_scale(self) -> list[float]:
        """Average the same over u uniform on [0, 1]; of a child, before its parent limits it."""
        if self.decay_form == "power":
            return [1 / (1 + self.decay * i) for i in range(self.n_features)]
        return [largest / 2 for largest in self.largest_before_scale()]

    @property
    def scale(self) -> float:
        """The factor, at most 1, that makes `active` features fire on average; exact, not estimated from a batch."""
        before = self.mean_before_scale()
        if not self.roots:
            return self.active / sum(before)
        return solve_rates(tuple(before), self.active, *self._sharing()).scale

    def rates(self) -> list[float]:
        """Give the share of rows in which each feature fires."""
        before = self.mean_before_scale()
        if not self.roots:
            scale = self.scale
            return [scale * mean for mean in before]
        return list(solve_rates(tuple(before), self.active, *self._sharing()).rates)

    def _sharing(self) -> tuple[Forest, float, bool]:
        return self.forest, self.children_share, self.siblings == "exclusive"
