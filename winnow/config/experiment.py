"""The settings of one experiment.

Strict: an unknown key, a wrong type or an impossible combination is refused by name before any work
starts. Each setting is described where it is defined; `--help` prints these descriptions.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from winnow.config.dtypes import ComputeDType, DType
from winnow.config.polytopes import PolytopesSettings
from winnow.config.positions import PositionPolicy
from winnow.config.section import (
    Count,
    Natural,
    NonNegative,
    OneOrMore,
    Positive,
    Section,
    Seed,
    Size,
    as_list,
    distinct,
    distinct_or_none,
)
from winnow.config.toy import ToySettings
from winnow.config.toy_rules import refuse_beside_toy
from winnow.paths import escape, expand_text

Architecture = Literal["relu", "topk", "batchtopk", "jumprelu", "gated", "matryoshka"]
Initialisation = Literal["random", "orthogonal", "samples", "pca", "basis", "singular", "kmeans"]
EncoderStart = Literal["transpose", "least_squares"] | Positive
TRANSPOSE, LEAST_SQUARES = "transpose", "least_squares"
Control = Literal["frozen_decoder", "frozen_encoder", "gaussian_rows"]
SHORTEST_NGRAM = 8
FILES = "files:"  # of a text.source: a pattern of files follows
MOST_DICTIONARIES = 10_000  # of one table [[train.dictionaries]], at each hook


def _transpose_for_one(values: list[Any]) -> list[Any]:
    return distinct(["transpose" if value == 1 else value for value in values])


def _as_written(path: str) -> str:
    """Expand `~`. Raises `ValueError` for characters that a terminal or a file of text cannot show."""
    if escape(path) != path:
        raise ValueError("has control characters; choose a name without them")
    return expand_text(path)


# A path as people write it; what begins with no ~ stays as it is.
Written = Annotated[str, AfterValidator(_as_written)]


class ModelSettings(Section):
    """The language model whose activations are harvested."""

    name: Written = Field(
        default="openai-community/gpt2", description="hub name, or a local folder in Hugging Face format"
    )
    revision: str = Field(default="main", description="branch, tag or commit on the hub")
    dtype: DType = Field(default="float32", description="compute dtype")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="auto, cpu, cuda, cuda:1, mps; for every stage",
    )


class TextSettings(Section):
    """The text that the model reads."""

    source: str = Field(
        default="python-docs",
        pattern=r"^(python-docs$|files:.|hub:.)",
        description="python-docs, files:GLOB (txt, jsonl, json, csv, parquet; .gz, .zst) or hub:NAME",
    )
    revision: str | None = Field(
        default=None, min_length=1, description="hub: branch, tag or commit of the data set; its main branch"
    )
    subset: str | None = Field(
        default=None, min_length=1, description="hub: which of the data set's configurations, where it has several"
    )
    split: str = Field(default="train", description="split of the data set")
    column: str = Field(
        default="text",
        description="column of strings, of conversations (lists of messages), or of token ids (taken as they are)",
    )
    chat_template: bool = Field(
        default=True, description="write conversations as the tokenizer's chat template does; false: refuse them"
    )
    context: Size = Field(default=128, ge=2, description="tokens per sequence")
    tokens: Count = Field(default=1_000_000, description="tokens to prepare; held-out sequences are among them")
    prepend_bos: Literal["auto"] | bool = Field(
        default="auto", description="start every sequence with BOS: true, false, or auto (where the tokenizer does)"
    )
    held_out_sequences: Count = Field(
        default=256,
        description="sequences at the end of the tokens that are never harvested; analyze measures on them (not "
        "train.held_out_rows, which are harvested rows that train evaluates on)",
    )
    drop_shared_ngrams: Natural = Field(
        default=0,
        description="leave out of the harvested part each sequence that shares this many tokens in a row with the "
        "held-out ones, and take later text in its place; 0: leave out nothing",
    )

    @model_validator(mode="after")
    def _long_enough(self) -> "TextSettings":
        if 0 < self.drop_shared_ngrams < SHORTEST_NGRAM:
            raise ValueError(
                f"drop_shared_ngrams = {self.drop_shared_ngrams}: any two texts share so few tokens in a row; take at "
                f"least {SHORTEST_NGRAM}, or 0 to leave out nothing"
            )
        return self

    @model_validator(mode="after")
    def _source_fits(self) -> "TextSettings":
        for key in ("revision", "subset"):
            if getattr(self, key) is not None and not self.source.startswith("hub:"):
                raise ValueError(f"{key} has a meaning only with source = hub:NAME; remove it")
        return self


class HarvestSettings(Section):
    """What is saved, and in what portions."""

    hooks: Annotated[list[str], *OneOrMore] = Field(
        default=["blocks.*.hook_resid_post"], description="TransformerLens hook names; * and ? are wildcards"
    )
    positions: Literal["all"] | PositionPolicy = Field(
        default="all", description="all, or a table of skip_first, evenly, random, drop_tokens"
    )
    storage_dtype: DType = Field(default="float16", description="dtype on disk")
    sequences_per_batch: Size = Field(default=32, description="sequences per forward pass")
    compile: bool = Field(
        default=False, description="run the model through torch.compile: a minute at the start, faster from then on"
    )
    rows_per_shard: Size = Field(default=262_144, description="activation rows per shard file, at most")


class Dictionaries(Section):
    """A grid of dictionaries: every combination of the lists is one."""

    architecture: Architecture = Field(description="relu, topk, batchtopk, jumprelu, gated or matryoshka")
    n_latents: Annotated[list[Size], *OneOrMore] = Field(description="latents of each dictionary")
    hooks: Annotated[list[str], *OneOrMore] = Field(default=["*"], description="harvested hooks to train at; wildcards")
    k: Annotated[list[Size], *OneOrMore] | None = Field(
        default=None, description="topk: latents active per row; batchtopk, matryoshka: on average"
    )
    l1_coefficient: Annotated[list[NonNegative], *OneOrMore] | None = Field(
        default=None,
        description="relu, gated: weight of the L1 penalty, activations scaled to mean norm sqrt(d_model); with noise, "
        "0",
    )
    noise: Annotated[list[Positive], *OneOrMore] | None = Field(
        default=None,
        description="relu with l1_coefficient = 0, a denoising autoencoder: standard deviation of the Gaussian noise "
        "that is added to each dimension of its input, the target being the clean row; in units of the activations' "
        "standard deviation, the root of their mean variance over dimensions",
    )
    l1_reduction: Literal["sum", "mean"] | None = Field(
        default=None,
        description="relu, gated: the penalty is l1_coefficient times the sum over latents (the default); mean: times "
        "the mean over latents, beside the squared error's mean over dimensions, both in the activations' own units",
    )
    l0_coefficient: Annotated[list[Positive], *OneOrMore] | None = Field(
        default=None, description="jumprelu: weight of the L0 penalty, activations scaled likewise"
    )
    seed: Annotated[list[Seed], *OneOrMore] = Field(default=[0], description="seeds of the initialisation")
    learning_rate: Positive = Field(default=1e-3, description="peak rate of Adam")
    initialisation: Annotated[list[Initialisation], *OneOrMore] = Field(
        default=["random"], description="first directions: random, orthogonal, samples, pca, basis, singular or kmeans"
    )
    encoder_start: Annotated[list[EncoderStart], *OneOrMore, AfterValidator(_transpose_for_one)] | None = Field(
        default=None,
        description="the encoder's first weights, as a multiple of the decoder's transpose: a number; transpose, "
        "which is 1; or least_squares, the number at which the first reconstruction errs least; by default what "
        "train/plan.py chooses for the architecture",
    )
    gradient_norm: NonNegative | None = Field(
        default=None,
        description="the norm to which a step's gradient, over all parameters of the dictionary, is shortened where it "
        "is longer, before Adam sees it; 0: never; by default 1",
    )
    b_dec: Literal["mean", "geometric_median", "none"] = Field(
        default="mean",
        description="where the decoder's bias starts: mean or geometric_median of the activations; none: there is "
        "none, nor does the encoder subtract one",
    )
    tied: bool | None = Field(default=None, description="relu: the encoder is the decoder's transpose")
    bandwidth: Positive | None = Field(
        default=None, description="jumprelu: width of the kernel around a threshold, and its first value; 0.1"
    )
    resample_rows: Natural | None = Field(
        default=None,
        description="relu, gated: rows between resamplings of dead latents, 0 for never; an eighth of the rows",
    )
    auxk_coefficient: NonNegative | None = Field(
        default=None, description="topk, batchtopk, matryoshka: weight of AuxK, which revives dead latents; 1/32"
    )
    control: Annotated[list[Control], BeforeValidator(as_list), AfterValidator(distinct_or_none)] = Field(
        default=[],
        description="controls to train besides, one of each kind per hook, at the middle of the sizes and sparsities "
        "and the first seed: frozen_decoder (its random directions stay as they are), frozen_encoder (the encoder's "
        "do), gaussian_rows (trained on Gaussian rows of the activations' mean and covariance)",
    )

    @model_validator(mode="after")
    def _not_too_many(self) -> "Dictionaries":
        lists = {name: value for name, value in self if isinstance(value, list) and name not in ("hooks", "control")}
        if (count := math.prod(map(len, lists.values()))) > MOST_DICTIONARIES:
            longest = max(lists, key=lambda name: len(lists[name]))
            raise ValueError(
                f"{count:,} dictionaries at each hook, at most {MOST_DICTIONARIES:,}; {longest} has the most values"
            )
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> "Dictionaries":
        by_architecture = {
            "relu": ("l1_coefficient", "l1_reduction", "tied", "resample_rows", "noise"),
            "topk": ("k", "auxk_coefficient"),
            "batchtopk": ("k", "auxk_coefficient"),
            "jumprelu": ("l0_coefficient", "bandwidth"),
            "gated": ("l1_coefficient", "l1_reduction", "resample_rows"),
            "matryoshka": ("k", "auxk_coefficient"),
        }
        sparsity, *_ = own = by_architecture[self.architecture]
        if getattr(self, sparsity) is None:
            raise ValueError(f"{self.architecture} needs {sparsity}")
        for name in {name for names in by_architecture.values() for name in names}.difference(own):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no meaning for {self.architecture}; remove it")
        if self.noise and (self.l1_coefficient != [0] or self.l1_reduction):
            raise ValueError("noise takes the place of the penalty: give l1_coefficient = 0, and no l1_reduction")
        if 0 in (self.l1_coefficient or []) and not self.noise:
            raise ValueError("l1_coefficient = 0 leaves nothing that makes latents sparse; choose more, or give noise")
        frozen = [control for control in self.control if control.startswith("frozen")]
        if self.tied and frozen:
            raise ValueError(f"control = {frozen[0]} has no meaning where tied = true: encoder and decoder are one")
        if self.tied and self.encoder_start:
            raise ValueError("encoder_start has no meaning where tied = true: the encoder is the decoder's transpose")
        if self.k and max(self.k) > min(self.n_latents):
            raise ValueError(f"k = {max(self.k)} is more than n_latents = {min(self.n_latents)}")
        return self


class TrainSettings(Section):
    """How dictionaries are fitted."""

    rows: Count | Literal["converged"] = Field(
        default=1_000_000,
        description="activation rows each dictionary sees; epochs follow. Or converged: until slope and similarity are "
        "within their bounds, each dictionary on its own",
    )
    max_rows: Count | None = Field(
        default=None, description="rows = converged: stop there at the latest; 200,000,000 rows"
    )
    slope_bound: Positive = Field(
        default=0.05,
        description="converged: relative change of the evaluation loss as rows double (more precisely, "
        "d ln loss / d ln rows), at most",
    )
    similarity_bound: float = Field(
        default=0.9,
        ge=-1,
        le=1,
        description="converged: mean cosine of the decoder directions with themselves at half the rows, at least",
    )
    batch_rows: Size = Field(default=4096, description="rows per step")
    scale_activations: bool = Field(
        default=True,
        description="train on activations scaled to a mean norm of sqrt(d_model), so that rates and penalties mean the "
        "same at every hook; false: on the activations as they are",
    )
    compute_dtype: ComputeDType = Field(
        default="auto",
        description="dtype of the products of a step: float32, bfloat16 or, on a GPU, tf32; weights and optimiser stay "
        "float32. auto: bfloat16 on a GPU, float32 on a CPU; a run goes on with the dtype that it began with",
    )
    warmup: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="share of the rows (of the fewest possible, if converged) over which rate and penalty rise",
    )
    decay: float = Field(
        default=0.2, ge=0, le=1, description="share of the rows, the last, over which the rate falls to 0"
    )
    held_out_rows: Count | Literal["auto"] = Field(
        default="auto",
        description="harvested rows at the end of the store, in whole sequences, that are never trained on: train "
        "evaluates on them (not text.held_out_sequences, which are never harvested); auto: one in 100, at most 65,536",
    )
    checkpoint_rows: Count = Field(default=2_000_000, description="rows between checkpoints")
    snapshots: Natural = Field(
        default=0, description="dictionaries to keep from on the way, for each doubling of the rows; 0: none"
    )
    loggers: Annotated[list[Literal["tensorboard", "wandb"]], AfterValidator(distinct_or_none)] = Field(
        default=["tensorboard"], description="where curves go besides metrics.jsonl: tensorboard, wandb"
    )
    shard_latents: bool = Field(
        default=False,
        description="under torchrun, all processes share each dictionary, its latents split among them, for those too "
        "large for one GPU; else each process trains dictionaries of its own",
    )
    window_mib: Size = Field(
        default=512, description="MiB of rows read at a time, from all over the store; two such windows are held"
    )
    dictionaries: list[Dictionaries] = Field(default=[], description="grids, each a table [[train.dictionaries]]")

    @model_validator(mode="after")
    def _end_fits(self) -> "TrainSettings":
        if self.max_rows is not None and self.rows != "converged":
            raise ValueError("max_rows has a meaning only with rows = converged; remove it")
        if self.rows == "converged" and self.decay == 1:
            raise ValueError("decay = 1 leaves no rows at full rate, where convergence is judged; choose a lower one")
        return self


class AnalyzeSettings(Section):
    """What is measured."""

    evaluation_sequences: Count | None = Field(
        default=None, description="older name of text.held_out_sequences and, with [toy], of toy.held_out_rows"
    )
    features: Annotated[list[str], *OneOrMore] = Field(
        default=["auto"],
        description="dictionaries that get feature pages: HOOK/NAME or NAME with wildcards, all, none, or auto (the "
        "largest topk one at the first hook, and its other sizes)",
    )

    @model_validator(mode="after")
    def _words_stand_alone(self) -> "AnalyzeSettings":
        for word in {"auto", "all", "none"}.intersection(self.features):
            if len(self.features) > 1:
                raise ValueError(f"features: {word} stands alone; remove it, or the other names")
        return self


class Experiment(BaseSettings):
    """Everything one run of the pipeline depends on.

    Give --config FILE; every other option overrides one key of that file.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    config: str = Field(exclude=True, description="the experiment's TOML file, for instance configs/demo.toml")
    run: Written = Field(min_length=1, description="folder for everything this experiment writes")
    seed: Seed = Field(default=0, description="seed of the order of rows and of random positions")
    massive_norm: NonNegative = Field(
        default=10.0,
        description="a row is massive if its norm is above so many times the median norm of its hook; massive rows are "
        "left out of training, baselines and headline figures; 0: they are taken in",
    )
    model: ModelSettings = ModelSettings()
    text: TextSettings = TextSettings()
    toy: ToySettings | None = Field(
        default=None, description="data with a known answer, in place of [text] and of all of [model] but the device"
    )
    harvest: HarvestSettings = HarvestSettings()
    train: TrainSettings = TrainSettings()
    polytopes: PolytopesSettings | None = Field(
        default=None, description="the model's polytopes; without this table only make polytopes measures them"
    )
    analyze: AnalyzeSettings = AnalyzeSettings()

    @property
    def held_out_key(self) -> str:
        """The setting that says how many sequences are held out."""
        return "text.held_out_sequences" if self.toy is None else "toy.held_out_rows"

    @property
    def held_out(self) -> int:
        """Sequences at the end that are never harvested: the analysis measures on them. A toy row is a sequence."""
        return self.text.held_out_sequences if self.toy is None else self.toy.held_out_rows

    @model_validator(mode="after")
    def _most_rows_are_not_massive(self) -> "Experiment":
        if 0 < self.massive_norm < 1:
            raise ValueError(
                f"massive_norm = {self.massive_norm:g}: most rows would be massive; choose 1 or more, or 0"
            )
        return self

    @model_validator(mode="after")
    def _older_name(self) -> "Experiment":
        """Move `analyze.evaluation_sequences` to the setting that took its place."""
        asked = self.analyze.evaluation_sequences
        if asked is None:
            return self
        table, _, key = self.held_out_key.partition(".")
        section = self.text if self.toy is None else self.toy
        if key in section.model_fields_set:
            raise ValueError(
                f"analyze.evaluation_sequences is the older name of {self.held_out_key}, and both are given; "
                "remove analyze.evaluation_sequences"
            )
        for name, value in (
            (table, section.model_copy(update={key: asked})),
            ("analyze", self.analyze.model_copy(update={"evaluation_sequences": None})),
        ):
            object.__setattr__(self, name, value)  # frozen, but not given to anybody yet
        return self

    @model_validator(mode="after")
    def _toy_stands_alone(self) -> "Experiment":
        if self.toy is not None:
            refuse_beside_toy(self)
        return self

    @model_validator(mode="after")
    def _positions_fit(self) -> "Experiment":
        if isinstance(self.harvest.positions, PositionPolicy):
            self.harvest.positions.refuse_beyond(self.text.context, "harvest.positions")
        if self.polytopes is not None:
            self.polytopes.positions.refuse_beyond(self.text.context, "polytopes.positions")
        return self

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *args: Any, **kwargs: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # the environment is no source: a run depends on its file and command line alone
