from typing import Any

import pytest

from analyze.features.choice import choose, other_sizes, refuse_unknown
from tests.analyze.typed import typed
from tests.experiments import load, write_config
from winnow.errors import UserError


def entry(hook: str, architecture: str, n_latents: int, seed: int = 0) -> dict[str, Any]:
    name = f"{architecture}-{n_latents}-seed{seed}"
    return {
        "path": f"dictionaries/{hook}/{name}",
        "hook": hook,
        "architecture": architecture,
        "n_latents": n_latents,
        "sparsity": {"k": 8},
        "seed": seed,
    }


METRICS = typed(
    {
        "dictionaries": [
            *(entry("mlp", "topk", n) for n in (64, 16)),
            *(entry("resid", "topk", n) for n in (64, 16, 32)),
            entry("resid", "topk", 16, seed=1),
            entry("resid", "relu", 128),
            entry("embed", "relu", 16),
        ]
    }
)


def paths(entries: list[Any]) -> list[str]:
    return [e["path"].removeprefix("dictionaries/") for e in entries]


def test_auto_is_the_ladder_of_the_largest_topk_at_the_first_hook():
    ladder = ["topk-16-seed0", "topk-32-seed0", "topk-64-seed0"]
    assert paths(choose(["auto"], METRICS, ["embed", "resid", "*"])) == [f"resid/{name}" for name in ladder]
    assert paths(choose(["auto"], METRICS, ["*"])) == ["mlp/topk-16-seed0", "mlp/topk-64-seed0"]


def test_auto_without_topk_takes_another_architecture():
    only = {"dictionaries": [e for e in METRICS["dictionaries"] if e["architecture"] == "relu"]}
    assert paths(choose(["auto"], only, ["resid", "*"])) == ["resid/relu-128-seed0"]


def test_names_are_wildcards_over_hook_and_name_or_name_alone():
    assert paths(choose(["resid/topk-*-seed0"], METRICS)) == [f"resid/topk-{n}-seed0" for n in (16, 32, 64)]
    assert paths(choose(["relu-*"], METRICS)) == ["resid/relu-128-seed0", "embed/relu-16-seed0"]
    assert choose(["none"], METRICS) == []
    assert len(choose(["all"], METRICS)) == len(METRICS["dictionaries"])


def test_other_sizes_share_everything_else():
    assert paths(other_sizes(METRICS["dictionaries"][2], METRICS)) == ["resid/topk-16-seed0", "resid/topk-32-seed0"]


def test_a_name_that_chooses_nothing_is_refused_with_the_nearest():
    known = [e["path"] for e in METRICS["dictionaries"]]
    refuse_unknown(["auto"], known)
    refuse_unknown(["mlp/*", "relu-16-seed0"], known)
    with pytest.raises(UserError, match=r"analyze.features = relu-16-sed0: .*; did you mean relu-16-seed0.*wildcards"):
        refuse_unknown(["mlp/*", "relu-16-sed0"], known)


def test_a_word_among_names_is_refused(tmp_path):
    config = write_config(tmp_path, tmp_path, analyze={"features": ["all", "topk-*"]})
    with pytest.raises(UserError, match=r"features: all stands alone; remove it, or the other names"):
        load(config)
