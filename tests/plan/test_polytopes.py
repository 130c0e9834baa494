"""The estimate of the stage polytopes: it counts what is asked for, and a plan shows it."""

import pytest

from plan.machine import H100
from plan.polytopes import LayerShape, polytope_time
from plan.table import print_plan
from tests.experiments import ROOT, load
from winnow.config.polytopes import EXPERIMENT_NAMES, PolytopesSettings

SHAPE = LayerShape(layers=12, d_model=768, neurons=3072, flops_per_token=2.5e8)
DEMO = ROOT / "configs" / "demo.toml"


def seconds(**settings) -> float:
    config = load(DEMO)
    return polytope_time(config, PolytopesSettings.model_validate(settings), SHAPE, H100).total


@pytest.mark.parametrize("name", EXPERIMENT_NAMES)
def test_every_experiment_takes_time_but_the_one_that_only_reads(name: str):
    all_but = [other for other in EXPERIMENT_NAMES if other != name]
    assert (seconds(experiments=all_but) < seconds()) == (name != "radius")


def test_more_of_anything_takes_longer():
    usual = seconds()
    assert seconds(rows=8000) > usual > seconds(layers=[0, 1])
    assert seconds(untrained=False) < usual
    for section, setting in {
        "scaling": {"rows": 160},
        "density": {"pairs": 6000},
        "regions": {"rows": 50_000},
        "adversaries": {"rows": 128},
        "clusters": {"rows": 4000, "representations": ["post:*", "code:*", "code:all", "post:1"]},
    }.items():
        assert seconds(**{section: setting}) > usual, section


def test_a_plan_names_the_stage_where_it_is_configured(capsys: pytest.CaptureFixture[str]):
    print_plan(load(DEMO))
    shown = capsys.readouterr().out
    assert "polytopes" in shown
    assert "for polytopes" in shown
    print_plan(load(ROOT / "configs" / "toy.toml"))
    assert "polytopes" not in capsys.readouterr().out
