"""One row for each metric: columns, titles, the terminal, the model card and docs/reference/metrics.md read these."""

from functools import partial
from typing import Any, NamedTuple

from analyze.schema.activations import Activations
from analyze.schema.comparisons import Family, Pair
from analyze.schema.dictionaries import Dictionary
from analyze.schema.groups import Grid, Group
from analyze.schema.metric import COUNT, DECIMAL, PERCENT, SIGNIFICANT, TWO_PLACES, Form, Metric, metric
from analyze.schema.report import EvaluationInfo, Shown, ShownOf
from analyze.schema.truth import Truth

DICTIONARIES, PAIRS, HOOKS = "dictionaries", "pairs", "activations"
FOUR_PLACES = Form("decimal", 4)

# of a dictionary
_d = partial(metric, Dictionary)
N_LATENTS = _d("n_latents", "latents", COUNT, (DICTIONARIES, "What it is"))
ROWS_SEEN = _d("rows", "rows seen", COUNT, (DICTIONARIES, "What it is"), unit="activation rows")
L0 = _d("l0", "L0", SIGNIFICANT, (DICTIONARIES, "L0"), unit="latents active per row")
L0_LOW = _d("l0_quantiles.0.05", "L0, 5% of rows", SIGNIFICANT, (DICTIONARIES, "L0"), unit="latents active")
L0_HIGH = _d("l0_quantiles.0.95", "L0, 95% of rows", SIGNIFICANT, (DICTIONARIES, "L0"), unit="latents active")
FVU = _d("fvu", "FVU", DECIMAL, (DICTIONARIES, "FVU"), "lower")
FVU_ALL_ROWS = _d("fvu_all_rows", "FVU, all rows", DECIMAL, (DICTIONARIES, "FVU"), "lower")
ROWS_LEFT_OUT = _d("rows_left_out", "rows left out", COUNT, (DICTIONARIES, "FVU"), unit="evaluation rows")
FVU_UNCENTRED = _d("fvu_uncentred", "FVU uncentred", DECIMAL, (DICTIONARIES, "FVU"), "lower")
FVU_ROWWISE = _d("fvu_rowwise", "FVU row-wise", DECIMAL, (DICTIONARIES, "FVU"), "lower")
MSE = _d("mse", "squared error per row", SIGNIFICANT, (DICTIONARIES, "FVU"), "lower", "squared activation")
L1 = _d("l1", "L1 of the latents per row", SIGNIFICANT, (DICTIONARIES, "FVU"), unit="activation")
DEAD = _d("dead_fraction", "dead", PERCENT, (DICTIONARIES, "Alive"), "lower", "share of the latents")
ALIVE = _d("alive_fraction", "alive", PERCENT, (DICTIONARIES, "Alive"), "higher", "share of the latents")
DECODER_COSINE = _d("decoder_cosine", "mean |cosine| of directions", DECIMAL, (DICTIONARIES, "Cosines of directions"))
DECODER_SIGNED = _d(
    "decoder_cosine_signed", "mean cosine of directions", FOUR_PLACES, (DICTIONARIES, "Cosines of directions")
)
CE_CLEAN = _d("ce.clean", "loss, clean", DECIMAL, (DICTIONARIES, "Loss recovered"), "lower", "nats")
CE_PATCHED = _d("ce.patched", "loss, reconstructed", DECIMAL, (DICTIONARIES, "Loss recovered"), "lower", "nats")
CE_ZERO = _d("ce.zero", "loss, zeros", DECIMAL, (DICTIONARIES, "Loss recovered"), unit="nats")
CE_MEAN = _d("ce.mean", "loss, mean", DECIMAL, (DICTIONARIES, "Loss recovered"), unit="nats")
LOSS_RECOVERED = _d("ce.recovered", "loss recovered", PERCENT, (DICTIONARIES, "Loss recovered"), "higher")
RECOVERED_MEAN = _d("ce.recovered_mean", "against mean", PERCENT, (DICTIONARIES, "Loss recovered"), "higher")
KL = _d("ce.kl", "KL, nats", SIGNIFICANT, (DICTIONARIES, "Loss recovered"), "lower", "nats")
PCA = _d("baselines.pca", "PCA", DECIMAL, (DICTIONARIES, "Baselines"), "lower")
KMEANS = _d("baselines.kmeans", "k-means", DECIMAL, (DICTIONARIES, "Baselines"), "lower")
RANDOM = _d("baselines.random", "random", DECIMAL, (DICTIONARIES, "Baselines"), "lower")
UNTRAINED = _d("baselines.untrained", "untrained", DECIMAL, (DICTIONARIES, "Baselines"), "lower")
SHRINKAGE = _d("shrinkage.0.5", "shrinkage", TWO_PLACES, (DICTIONARIES, "Shrinkage"), unit="factor, 1 is right")
SHRINKAGE_LOW = _d("shrinkage.0.05", "shrinkage, 5% of latents", TWO_PLACES, (DICTIONARIES, "Shrinkage"))
SHRINKAGE_HIGH = _d("shrinkage.0.95", "shrinkage, 95% of latents", TWO_PLACES, (DICTIONARIES, "Shrinkage"))
ACTIVE = _d("toy.active", "active at a time", PERCENT, (DICTIONARIES, "The toy model's assumptions"))
SLOPE = _d("convergence.slope", "slope", DECIMAL, (DICTIONARIES, "Convergence"), unit="d log loss / d log rows")
SIMILARITY = _d("convergence.self_similarity", "self-similarity", DECIMAL, (DICTIONARIES, "Convergence"), "higher")
START_SIMILARITY = _d(
    "convergence.start_similarity", "cosine with the start", DECIMAL, (DICTIONARIES, "Convergence"), "lower"
)
LOSS_SHARE = _d("convergence.loss_share", "loss / start's", DECIMAL, (DICTIONARIES, "Convergence"), "lower")

QUALITY = (FVU, FVU_UNCENTRED, FVU_ROWWISE, LOSS_RECOVERED, RECOVERED_MEAN, KL, DEAD, ALIVE, DECODER_COSINE, ROWS_SEEN)
BASELINES = (PCA, KMEANS, RANDOM, UNTRAINED)

# of a dictionary, where the truth is known
_TRUTH, _FOUND, _FIRES, _SPEED = (
    ("truth of a dictionary", name) for name in ("MMCS to the truth", "Recovery", "Firing", "Learning speed")
)
SIZE_RATIO = _d("truth.size_ratio", "per feature", SIGNIFICANT, _TRUTH, unit="latents per true feature")
TRUE_MMCS = _d("truth.mmcs", "MMCS", DECIMAL, _TRUTH, "higher")
TRUE_NULL = _d("truth.mmcs_null", "chance", DECIMAL, _TRUTH)
TRUE_CORRECTED = _d("truth.mmcs_corrected", "corrected", DECIMAL, _TRUTH, "higher")
TRUE_NULL_ISOTROPIC = _d("truth.mmcs_null_isotropic", "chance, isotropic", DECIMAL, _TRUTH)
TRUE_ISOTROPIC = _d("truth.mmcs_corrected_isotropic", "corrected, isotropic", DECIMAL, _TRUTH, "higher")
LEARNED = _d("truth.learned.mmcs_corrected", "back, corrected", DECIMAL, _TRUTH, "higher")
TRUE_MATCHED = _d("truth.matched_mean", "matched", DECIMAL, _TRUTH, "higher")
TRUE_FOUND = _d("truth.recovered", "found", PERCENT, _FOUND, "higher", "share of the true features")
PRECISION = _d("truth.firing.precision.0.5", "precision", TWO_PLACES, _FIRES, "higher")
RECALL = _d("truth.firing.recall.0.5", "recall", TWO_PLACES, _FIRES, "higher")
F1 = _d("truth.firing.f1.0.5", "F1", TWO_PLACES, _FIRES, "higher")
MEAN_F1 = _d("truth.firing.f1.mean", "mean F1", TWO_PLACES, _FIRES, "higher")
MEAN_MCC = _d("truth.firing.mcc.mean", "mean MCC", TWO_PLACES, _FIRES, "higher")
_TREES = ("truth of a dictionary", "Parents and children")
PARENTS_FOUND = _d("truth.structure.parents_found", "parents found", PERCENT, _TREES, "higher", "share of the parents")
ABSORPTION = _d("truth.structure.absorption", "absorption", PERCENT, _TREES, "lower", "share of the rows with a child")
ABSORBED = _d("truth.structure.parents_absorbed", "mostly absorbed", PERCENT, _TREES, "lower", "share of those found")
SPLIT = _d("truth.structure.split", "split", PERCENT, _TREES, "lower", "share of the parents")
PIECES = _d("truth.structure.pieces", "pieces of one", TWO_PLACES, _TREES, unit="latents per split parent")
PARENTS_F1 = _d("truth.structure.parents.f1", "parents' mean F1", TWO_PLACES, _TREES, "higher")
CHILDREN_F1 = _d("truth.structure.children.f1", "children's mean F1", TWO_PLACES, _TREES, "higher")
PARENTS_MCC = _d("truth.structure.parents.mcc", "parents' mean MCC", TWO_PLACES, _TREES, "higher")
CHILDREN_MCC = _d("truth.structure.children.mcc", "children's mean MCC", TWO_PLACES, _TREES, "higher")
HEDGING = _d("truth.hedging.score", "hedging", TWO_PLACES, ("truth of a dictionary", "Hedging"), "lower")
TO_HEDGE = _d("truth.hedging.to_hedge", "to hedge", TWO_PLACES, ("truth of a dictionary", "Hedging"))
ROWS_TO_HALF = _d("truth.rows_to_half", "rows to half", COUNT, _SPEED, "lower", "activation rows")
STEEPEST_NEAR = _d("truth.steepest.rows", "steepest near", COUNT, _SPEED, unit="activation rows")
STEEPEST = _d("truth.steepest.per_doubling", "found per doubling", PERCENT, _SPEED)

# of a comparison
_p = partial(metric, Pair)
MMCS = _p("mmcs", "MMCS", DECIMAL, (PAIRS, "MMCS"), "higher")
CHANCE = _p("mmcs_null", "chance", DECIMAL, (PAIRS, "Chance"))
CORRECTED = _p("mmcs_corrected", "corrected", DECIMAL, (PAIRS, "Chance"), "higher")
CHANCE_ISOTROPIC = _p("mmcs_null_isotropic", "chance, isotropic", DECIMAL, (PAIRS, "Chance by isotropy"))
CORRECTED_ISOTROPIC = _p(
    "mmcs_corrected_isotropic", "corrected, isotropic", DECIMAL, (PAIRS, "Chance by isotropy"), "higher"
)
ABOVE_CHANCE = _p("above_chance", "above chance", PERCENT, (PAIRS, "Chance"), "higher", "share of the latents")
WITH_DEAD = _p("mmcs_with_dead", "MMCS with dead", DECIMAL, (PAIRS, "MMCS"), "higher")
SCALE_AWARE = _p("scale_aware", "scale-aware", DECIMAL, (PAIRS, "Scale-aware match"), "higher")
MEDIAN_COSINE = _p("max_cosines.quantiles.0.5", "median cosine", DECIMAL, (PAIRS, "The distribution of m_i"), "higher")
MATCHED = _p("matched_mean", "matched mean", DECIMAL, (PAIRS, "One-to-one matching"), "higher")
ABOVE_09 = _p("matched_above_0.9", "matched above 0.9", PERCENT, (PAIRS, "One-to-one matching"), "higher")
ABOVE_07 = _p("matched_above_0.7", "above 0.7", PERCENT, (PAIRS, "One-to-one matching"), "higher")
SHARED = _p("shared_fraction", "shared", PERCENT, (PAIRS, "Shared fraction"), "higher", "share of the latents")
PRESENT = _p("diagnosis.present", "present", PERCENT, (PAIRS, "Diagnosis of middling cosines"), "higher")
COMPOSED = _p("diagnosis.composed", "composed", PERCENT, (PAIRS, "Diagnosis of middling cosines"))
ABSENT = _p("diagnosis.absent", "absent", PERCENT, (PAIRS, "Diagnosis of middling cosines"), "lower")
PRESENT_RANDOM = _p("diagnosis.random.present", "present, random", PERCENT, (PAIRS, "Diagnosis of middling cosines"))
COMPOSED_RANDOM = _p("diagnosis.random.composed", "composed, random", PERCENT, (PAIRS, "Diagnosis of middling cosines"))
ABSENT_RANDOM = _p("diagnosis.random.absent", "absent, random", PERCENT, (PAIRS, "Diagnosis of middling cosines"))
PARTICIPATION = _p("diagnosis.participation.0.5", "participation", TWO_PLACES, (PAIRS, "Diagnosis of middling cosines"))
EXPLAINED = _p("meta.explained", "explained by four", PERCENT, (PAIRS, "Meta-decomposition"), "higher")
BY_RANDOM = _p("meta.random", "by random four", PERCENT, (PAIRS, "Meta-decomposition"))
CORRELATION = _p("functional.correlation", "correlation", DECIMAL, (PAIRS, "Functional agreement"), "higher")
JACCARD = _p("functional.jaccard", "Jaccard", DECIMAL, (PAIRS, "Functional agreement"), "higher")
JACCARD_NULL = _p("functional.jaccard_null", "chance", DECIMAL, (PAIRS, "Functional agreement"))
TO_TARGET = _p("functional.masked_to_target", "cosine where target fires", DECIMAL, (PAIRS, "Functional agreement"))
TO_TARGET_NULL = _p("functional.masked_to_target_null", "chance", DECIMAL, (PAIRS, "Functional agreement"))
TO_SOURCE = _p("functional.masked_to_source", "where source fires", DECIMAL, (PAIRS, "Functional agreement"))
TO_SOURCE_NULL = _p("functional.masked_to_source_null", "chance", DECIMAL, (PAIRS, "Functional agreement"))
NOVEL = _p("stitching.novel", "novel", PERCENT, (PAIRS, "Stitching"), "lower", "share of the latents")
NOVEL_ITSELF = _p("stitching.novel_to_itself", "novel to itself", PERCENT, (PAIRS, "Stitching"), "lower")
NOVELTY_AUC = _p("stitching.auc", "novelty predicted by cosine (ROC AUC)", DECIMAL, (PAIRS, "Stitching"), "higher")
MATCHED_PAIRS = _p("subspaces.pairs", "pairs", COUNT, (PAIRS, "Subspaces"))
PAIR_CORRELATION = _p("subspaces.correlation", "correlation", DECIMAL, (PAIRS, "Subspaces"), "higher")
CKA = _p("subspaces.cka.score", "CKA", DECIMAL, (PAIRS, "Subspaces"), "higher")
CKA_NULL = _p("subspaces.cka.null", "chance", DECIMAL, (PAIRS, "Subspaces"))
SVCCA = _p("subspaces.svcca.score", "SVCCA", DECIMAL, (PAIRS, "Subspaces"), "higher")
SVCCA_NULL = _p("subspaces.svcca.null", "chance", DECIMAL, (PAIRS, "Subspaces"))
OVERLAP = _p("subspaces.angles.overlap.score", "overlap", DECIMAL, (PAIRS, "Subspaces"), "higher")
OVERLAP_NULL = _p("subspaces.angles.overlap.null", "chance", DECIMAL, (PAIRS, "Subspaces"))

# of the relations between two sizes
_f = partial(metric, Family)
_EDGES = ("families", "What edges rest on")
MUTUAL = _f("mutual", "mutual", COUNT, _EDGES, unit="edges")
BY_COSINE = _f("by_cosine", "by cosine alone", COUNT, _EDGES, unit="edges")
BY_MASKED = _f("by_masked", "by masked cosine alone", COUNT, _EDGES, unit="edges")
BY_BOTH = _f("by_both", "by both", COUNT, _EDGES, unit="edges")
COSINE_RANDOM = _f("cosine_random", "by cosine, random", COUNT, _EDGES, unit="edges")

# of a grid; its values are tables [size, sparsity]
_g = partial(metric, Grid)
_GRID, _GRID_TRUTH = ("choosing", "One grid"), ("truth of a grid", "truth")
GRID_NEXT = _g("mmcs_next", "MMCS with the next larger size", DECIMAL, _GRID, "higher")
GRID_CORRECTED = _g("mmcs_next_corrected", "Corrected MMCS with the next larger size", DECIMAL, _GRID, "higher")
GRID_COSINE = _g("decoder_cosine", "Mean |cosine| of the directions", DECIMAL, _GRID, "lower")
GRID_FVU = _g("fvu", "FVU", DECIMAL, _GRID, "lower")
GRID_L0 = _g("l0", "L0 (latents active per row)", SIGNIFICANT, _GRID)
GRID_DEAD = _g("dead_fraction", "Dead latents", PERCENT, _GRID, "lower")
GRID_MSE = _g("mse", "Squared error per row", SIGNIFICANT, _GRID, "lower")
GRID_L1 = _g("l1", "L1 of the latents per row", SIGNIFICANT, _GRID)
GRID_TRUE = _g("truth.mmcs_corrected", "Corrected MMCS of the true features", DECIMAL, _GRID_TRUTH, "higher")
GRID_LEARNED = _g(
    "truth.learned", "Corrected MMCS of the latents with the true features", DECIMAL, _GRID_TRUTH, "higher"
)
GRID_TRUE_MMCS = _g("truth.mmcs", "MMCS of the true features, as it is", DECIMAL, _GRID_TRUTH, "higher")
GRID_FOUND = _g("truth.recovered", "True features found (cosine above 0.9)", PERCENT, _GRID_TRUTH, "higher")
_STICKY = ("choosing", "stickiness")
MSE_BY_SIZE = _g("stickiness.mse_by_size", "|∂ log squared error / ∂ log size|", SIGNIFICANT, _STICKY)
MSE_BY_SPARSITY = _g("stickiness.mse_by_sparsity", "|∂ log squared error / ∂ log sparsity|", SIGNIFICANT, _STICKY)
L1_BY_SIZE = _g("stickiness.l1_by_size", "|∂ log L1 / ∂ log size|", SIGNIFICANT, _STICKY)
L1_BY_SPARSITY = _g("stickiness.l1_by_sparsity", "|∂ log L1 / ∂ log sparsity|", SIGNIFICANT, _STICKY)

# of a group of seeds
_s = partial(metric, Group)
_SEEDS = ("seeds", "`groups`")
OVER_SEEDS = (
    _s("rows_to_half.mean", "rows to half of the features", COUNT, _SEEDS, "lower", "activation rows"),
    _s("recovered.mean", "true features found", PERCENT, _SEEDS, "higher"),
    _s("mmcs_corrected.mean", "corrected MMCS to the truth", DECIMAL, _SEEDS, "higher"),
    _s("fvu.mean", "FVU", FOUR_PLACES, _SEEDS, "lower"),
    _s("l0.mean", "L0 (latents active per row)", SIGNIFICANT, _SEEDS),
)

# of a hook
_a = partial(metric, Activations)
WIDTH = _a("width", "width", COUNT, (HOOKS, "From the statistics"))
ROWS = _a("rows", "rows", COUNT, (HOOKS, "From the statistics"))
MEAN_NORM = _a("mean_norm", "mean norm", SIGNIFICANT, (HOOKS, "From the statistics"), unit="activation")
ZEROS = _a("zeros", "exact zeros", PERCENT, (HOOKS, "From the statistics"), unit="share of the values")
SMALL = _a("small", "near zero", PERCENT, (HOOKS, "From the statistics"), unit="share of the values")
MASSIVE = _a("massive.rows", "massive rows", COUNT, (HOOKS, "Massive rows"))
MASSIVE_SHARE = _a("massive.share_of_rows", "share of the rows", PERCENT, (HOOKS, "Massive rows"))
MASSIVE_VARIANCE = _a("massive.share_of_variance", "share of the variance", PERCENT, (HOOKS, "Massive rows"))
_OUTLIER = (HOOKS, "The largest dimension")
LARGEST = _a("largest_dimension.share", "largest dimension", PERCENT, _OUTLIER, unit="share of the variance")
LARGEST_KEPT = _a("largest_dimension.kept_share", "without massive rows", PERCENT, _OUTLIER)
DIMENSIONS_FILLED = _a("spectrum.participation_ratio", "participation ratio", SIGNIFICANT, (HOOKS, "Spectrum"))
FILLED_STANDARDISED = _a(
    "spectrum.participation_ratio_standardised",
    "participation ratio, dimensions standardised",
    SIGNIFICANT,
    (HOOKS, "Spectrum"),
)
_BASIS = (HOOKS, "Privileged basis")
TAILS_BASIS = _a("privileged_basis.along_basis", "mean excess kurtosis, basis", SIGNIFICANT, _BASIS)
TAILS_ROTATED = _a("privileged_basis.along_rotation", "mean, random directions", SIGNIFICANT, _BASIS)
TYPICAL_BASIS = _a("privileged_basis.median_along_basis", "median excess kurtosis, basis", SIGNIFICANT, _BASIS)
TYPICAL_ROTATED = _a("privileged_basis.median_along_rotation", "median, random directions", SIGNIFICANT, _BASIS)

# of the evaluation's text
_e = partial(metric, EvaluationInfo)
_TEXT = ("evaluation", "Text in both parts")
SHARED_16 = _e("shared_ngrams.16", "16-grams also harvested", PERCENT, _TEXT, "lower", "share of the held-out 16-grams")
SHARED_64 = _e("shared_ngrams.64", "64-grams also harvested", PERCENT, _TEXT, "lower", "share of the held-out 64-grams")
DROPPED = _e("dropped_sequences", "sequences left out for it", COUNT, _TEXT)

# of a known truth
_t = partial(metric, Truth)
_REGIME = ("truth", "Regime")
FEATURES = _t("features", "features", COUNT, _REGIME)
PER_DIMENSION = _t("features_per_dimension", "per dimension", SIGNIFICANT, _REGIME)
DIMENSIONS_EACH = _t("regime.dimensionality.mean", "dimensions each", DECIMAL, _REGIME)
DIMENSIONS_RANDOM = _t("regime.dimensionality_random", "at random", DECIMAL, _REGIME)
NEAREST_COSINE = _t("regime.mean_max_cosine", "nearest cosine", DECIMAL, _REGIME)
NEAREST_RANDOM = _t("regime.mean_max_cosine_random", "at random", DECIMAL, _REGIME)
LARGEST_COSINE = _t("regime.mean_max_abs_cosine", "largest |cosine|", DECIMAL, _REGIME)
IN_OPPOSITE_PAIRS = _t("regime.antipodal_share", "in opposite pairs", PERCENT, _REGIME)

METRICS: tuple[Metric, ...] = (*(one for one in [*globals().values()] if isinstance(one, Metric)), *OVER_SEEDS)


class Column(NamedTuple):
    """A column of a CSV of latents: its head, and what stands below."""

    name: str
    meaning: str


LATENTS_OF_PAIR = (  # pairs/*.csv
    Column("latent", "number of the latent"),
    Column("max_cosine", "largest cosine with a direction of the other dictionary"),
    Column("nearest", "latent of the other dictionary that has it"),
    Column("p", "probability of such a cosine for a random vector with the second moment of these directions"),
    Column("firing_rate", "share of the evaluation rows"),
    Column("r2_1", "share of the direction's square that one direction explains"),
    Column("r2_4", "that at most four explain"),
    Column("r2_1_random", "share that one direction of a random dictionary of equal size explains"),
    Column("r2_4_random", "that at most four of them explain"),
    Column("participation", "how many of those four share the work"),
    Column("match", "partner in the one-to-one matching"),
    Column("match_cosine", "cosine with it"),
)
LATENTS_OF_LINEAGE = (  # lineages/*.csv
    Column("size", "place of the size in `paths`, from 0"),
    Column("latent", "number of the latent"),
    Column("descendants", "features of the largest size that descend from it"),
    Column("ancestors", "features of the smallest size that it descends from"),
    Column("born", "place of the size in which its oldest ancestor lived"),
)
ON_THE_CARD = ((N_LATENTS, L0, FVU, LOSS_RECOVERED, ALIVE), (MMCS, CHANCE, CORRECTED))


def shown() -> dict[str, Any]:
    """Describe in `metrics.json` the metrics of the model card, for a reader without this program."""
    of_dictionaries, of_pairs = ([_shown(one) for one in metrics] for metrics in ON_THE_CARD)
    return dict(ShownOf(dictionaries=of_dictionaries, pairs=of_pairs))


def _shown(one: Metric) -> Shown:
    return Shown(key=one.path, title=one.title, unit=one.unit, format=one.form.spec)
