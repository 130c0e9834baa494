"""What `make demo` promises, on the run that it left; skipped where it has not been run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import PATIENCE, console_errors, open_browser, wait_until_drawn
from tests.experiments import ROOT

RUN = ROOT / "runs" / "demo"


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    path = RUN / "report" / "metrics.json"
    if not path.exists():
        pytest.skip("no runs/demo/report: run make demo first")
    return json.loads(path.read_text(encoding="utf-8"))


def test_two_architectures_three_sizes_a_residual_and_an_mlp_hook(metrics: dict[str, Any]):
    sizes: dict[tuple[str, str], set[int]] = {}
    for entry in metrics["dictionaries"]:
        sizes.setdefault((entry["hook"], entry["architecture"]), set()).add(entry["n_latents"])
    hooks = {hook for hook, _ in sizes}
    assert any("resid" in hook for hook in hooks)
    assert any("mlp" in hook for hook in hooks)
    assert set(sizes) == {(hook, kind) for hook in hooks for kind in ("relu", "topk")}
    assert all(len(found) >= 3 for found in sizes.values())


def test_the_largest_topk_dictionary_reconstructs_the_residual_stream(metrics: dict[str, Any]):
    largest = max(
        (d for d in metrics["dictionaries"] if d["architecture"] == "topk" and "resid" in d["hook"]),
        key=lambda d: d["n_latents"],
    )
    assert largest["fvu"] <= 0.25
    assert largest["l0"] <= 32
    assert largest["ce"]["recovered"] >= 0.9


def test_every_dictionary_beats_pca_at_its_l0_and_larger_ones_reconstruct_better(metrics: dict[str, Any]):
    fvu: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for d in metrics["dictionaries"]:
        assert d["fvu"] < d["baselines"]["pca"], d["path"]
        if d["seed"] == 0:
            fvu.setdefault((d["hook"], d["architecture"]), []).append((d["n_latents"], d["fvu"]))
    for kind, found in fvu.items():
        values = [value for _, value in sorted(found)]
        assert len(values) == 3, kind
        assert values[0] > values[1] > values[2], kind


def test_every_mmcs_stands_beside_its_chance_level_and_both_ways(metrics: dict[str, Any]):
    pairs = {(pair["from"], pair["to"]): pair for pair in metrics["pairs"]}
    assert pairs
    for (a, b), pair in pairs.items():
        assert (b, a) in pairs
        assert 0 < pair["mmcs_null"] < 1
        assert pair["mmcs_corrected"] == pytest.approx(
            (pair["mmcs"] - pair["mmcs_null"]) / (1 - pair["mmcs_null"]), abs=1e-6
        )


def test_dictionaries_load_from_any_directory(metrics: dict[str, Any], tmp_path: Path):
    program = f"import winnow; print(winnow.load_dictionaries({str(RUN)!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("n_latents=") == len(metrics["dictionaries"])


@pytest.mark.browser
def test_the_report_draws_every_plot_in_a_browser_without_an_error(metrics: dict[str, Any], tmp_path: Path):
    with open_browser(tmp_path / "profile") as browser:
        browser.get((RUN / "report" / "index.html").as_uri())
        assert wait_until_drawn(browser) >= 20
        assert console_errors(browser) == []


def test_every_figure_is_a_file_for_paper_and_table(metrics: dict[str, Any]):
    figures = RUN / "report" / "figures"
    names = {kind: {path.stem for path in figures.glob(f"*.{kind}")} for kind in ("svg", "pdf", "csv")}
    assert len(names["svg"]) >= 5
    assert names["svg"] == names["pdf"] == names["csv"]


def test_the_feature_pages_find_a_token_and_lead_to_another_size(metrics: dict[str, Any], tmp_path: Path):
    page = RUN / "report" / "features" / "index.html"

    def shown(browser: Chrome, selector: str) -> WebElement:
        return WebDriverWait(browser, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, selector))[0]

    def follow(browser: Chrome, selector: str) -> None:
        link = shown(browser, selector)
        address = str(link.get_attribute("href")).partition("#")[2]
        link.click()
        shown(browser, f'#main[data-shown="#{address}"]')
        assert shown(browser, ".examples .peak").is_displayed()
        assert shown(browser, ".effects.up .chip").is_displayed()

    with open_browser(tmp_path / "profile") as browser:
        browser.get(page.as_uri())
        shown(browser, "#query").send_keys("return")
        shown(browser, '#main[data-shown$="search=return"]')
        assert "return" in shown(browser, ".chip.found").text.lower()
        follow(browser, ".list .name a")
        follow(browser, ".near a")
        assert console_errors(browser) == []
