"""The report works in a real browser, opened from disk: every plot is drawn and the console holds no error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from analyze.report import render_page, report_sections
from tests.analyze.sample import TOPK, sample_metrics
from tests.browser import console_errors, open_browser, set_width, wait_until_drawn


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(sample_metrics(), tmp_path_factory.mktemp("report"))


def write_page(metrics: dict[str, Any], folder: Path) -> str:
    """Write the page without the figures' files, and return its address."""
    page = folder / "index.html"
    page.write_text(render_page(metrics, report_sections(metrics)), encoding="utf-8")
    return page.as_uri()


def test_every_chart_is_drawn_and_the_console_is_clean(browser: Chrome, report: str) -> None:
    browser.get(report)
    wait_until_drawn(browser)
    for select in browser.find_elements(By.CSS_SELECTOR, ".choice select"):
        for i in range(1, len(Select(select).options)):
            Select(select).select_by_index(i)
            wait_until_drawn(browser)
    charts = [chart for section in report_sections(sample_metrics()) for chart in section.charts]
    drawn = {
        figure.get_attribute("id"): len(figure.find_elements(By.CSS_SELECTOR, "div.plot.js-plotly-plot"))
        for figure in browser.find_elements(By.CSS_SELECTOR, "figure.chart")
    }
    assert drawn == {chart.name: len(chart.panels) for chart in charts}
    assert console_errors(browser) == []


def test_legend_hides_a_series_in_every_panel_and_shows_it_again(browser: Chrome, report: str) -> None:
    browser.get(report)
    wait_until_drawn(browser)
    figure = browser.find_element(By.ID, "fvu-l0")
    button = figure.find_element(By.CSS_SELECTOR, ".legend button")
    count_traces = "return document.querySelectorAll('#fvu-l0 .main-svg .trace').length"
    before = browser.execute_script(count_traces)
    assert before == 2 * 6  # hooks × (architectures × sizes)
    browser.execute_script("arguments[0].click()", button)
    assert browser.execute_script(count_traces) == before - 2
    browser.execute_script("arguments[0].click()", button)
    assert browser.execute_script(count_traces) == before
    assert console_errors(browser) == []


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_reaches_beyond_the_page(browser: Chrome, report: str, width: int) -> None:
    set_width(browser, width)
    browser.get(report)
    wait_until_drawn(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.execute_script(
        "return [...document.querySelectorAll('div.plot')].filter((p) => p.offsetParent !== null)"
        ".every((p) => p.getBoundingClientRect().right <= innerWidth && p.querySelector('.main-svg').clientWidth > 200)"
    )


def test_hostile_names_stay_text(browser: Chrome, tmp_path: Path) -> None:
    name = "</script><img src=x onerror=\"document.title='broken in'\"><b>$x$"
    metrics = sample_metrics(sizes=(16, 32), hooks=(name,), architectures=(TOPK,))
    metrics["run"]["path"] = metrics["activations"][0]["hook"] = name
    browser.get(write_page(metrics, tmp_path))
    wait_until_drawn(browser)
    assert browser.title == f"winnow: {name}"
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert name in browser.find_element(By.CSS_SELECTOR, "#fvu-l0 h4").text
    assert console_errors(browser) == []
