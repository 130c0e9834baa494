"""The report works in a real browser, opened from disk: every plot is drawn and the console holds no error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from analyze.report.page import render_page, report_sections
from analyze.report.sections.overview import overview_section
from tests.analyze.sample import TOPK, sample_metrics
from tests.analyze.sample_relations import with_relations
from tests.analyze.typed import typed
from tests.browser import PATIENCE, console_errors, open_browser, set_width, wait_until_drawn

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(with_relations(sample_metrics()), tmp_path_factory.mktemp("report"))


def write_page(metrics: dict[str, Any], folder: Path) -> str:
    """Write the page without the figures' files, and return its address."""
    page = folder / "index.html"
    page.write_text(render_page(metrics, report_sections(typed(metrics))), encoding="utf-8")
    return page.as_uri()


def test_every_chart_is_drawn_and_the_console_is_clean(browser: Chrome, report: str) -> None:
    browser.get(report)
    wait_until_drawn(browser)
    for select in browser.find_elements(By.CSS_SELECTOR, ".choice select"):
        for i in range(1, len(Select(select).options)):
            Select(select).select_by_index(i)
            wait_until_drawn(browser)
    charts = [chart for section in report_sections(typed(with_relations(sample_metrics()))) for chart in section.charts]
    drawn = browser.execute_script("""
        const drawn = "div.plot.js-plotly-plot, div.tree .kin";
        const figures = [...document.querySelectorAll("figure.chart, figure.view")];
        return Object.fromEntries(figures.map((f) => [f.id, f.querySelectorAll(drawn).length]));
    """)
    charts += [view.chart for view in overview_section(typed(with_relations(sample_metrics()))).views]
    assert drawn == {chart.name: len(chart.panels) for chart in charts}
    assert console_errors(browser) == []


def test_legend_hides_a_series_in_every_panel_and_shows_it_again(browser: Chrome, report: str) -> None:
    browser.get(report)
    wait_until_drawn(browser)
    figure = browser.find_element(By.ID, "fvu-l0")
    button = figure.find_element(By.CSS_SELECTOR, ".legend button")
    count_traces = "return document.querySelectorAll('#fvu-l0 .main-svg .trace').length"
    before = browser.execute_script(count_traces)
    assert before == 2 * (6 + 3)  # hooks × (architectures × sizes, and baselines)
    browser.execute_script("arguments[0].click()", button)
    assert browser.execute_script(count_traces) == before - 2
    browser.execute_script("arguments[0].click()", button)
    assert browser.execute_script(count_traces) == before
    assert console_errors(browser) == []


def test_panels_are_drawn_when_they_come_near_the_screen(browser: Chrome, report: str) -> None:
    browser.get(report)
    last = browser.find_elements(By.CSS_SELECTOR, "figure.chart:not([hidden]) div.plot")[-1]
    assert "js-plotly-plot" not in (last.get_attribute("class") or "")
    browser.execute_script("arguments[0].scrollIntoView()", last)
    WebDriverWait(browser, PATIENCE).until(lambda _: "js-plotly-plot" in (last.get_attribute("class") or ""))


def test_reader_walks_along_the_family_tree(browser: Chrome, report: str) -> None:
    browser.get(report)
    wait_until_drawn(browser)
    tree = browser.find_element(By.CSS_SELECTOR, "figure:not([hidden]) div.tree")

    def shown() -> list[str]:
        graph = tree.find_elements(By.CSS_SELECTOR, ".kin [data-feature]")
        return sorted(button.get_attribute("data-feature") or "" for button in graph)

    def press(selector: str) -> None:
        browser.execute_script("arguments[0].click()", tree.find_element(By.CSS_SELECTOR, selector))

    number = tree.find_element(By.CSS_SELECTOR, "input")
    number.clear()
    number.send_keys("5\n")  # of the smallest size: it splits, and so does one of its children
    assert shown() == ["0:5", "1:10", "1:11", "2:20", "2:21", "2:22"]
    assert "Feature 5 of 256" in tree.text
    assert len(tree.find_elements(By.CSS_SELECTOR, ".kin path")) == 5
    press(".kin [data-feature='1:11']")
    assert shown() == ["0:5", "1:11", "2:22"]
    press(".about [data-feature='2:22']")
    assert shown() == ["0:5", "1:11", "2:22"]
    assert "cosine 0.95" in tree.text
    press(".about [data-feature='1:11']")
    assert tree.find_element(By.CSS_SELECTOR, ".kin [aria-current]").text == "11"
    press(".walk button[aria-label='Next feature']")
    assert tree.get_attribute("data-shown") != "1:11"
    Select(tree.find_element(By.CSS_SELECTOR, "form select")).select_by_index(0)
    number.clear()
    number.send_keys("6\n")  # it has no children
    assert shown() == ["0:6"]
    assert "vanishes" in tree.text
    assert console_errors(browser) == []


def test_address_of_a_feature_opens_its_tree(browser: Chrome, report: str) -> None:
    path = sample_metrics()["dictionaries"][4]["path"]  # not of the tree that is shown first
    browser.get("about:blank")
    browser.get(f"{report}#feature={path}:11")
    tree = browser.find_element(By.CSS_SELECTOR, "figure:not([hidden]) div.tree")
    assert tree.find_element(By.CSS_SELECTOR, ".kin [aria-current]").text == "11"
    assert tree.get_attribute("data-shown") == "1:11"
    assert console_errors(browser) == []


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_reaches_beyond_the_page(browser: Chrome, report: str, width: int) -> None:
    set_width(browser, width)
    browser.get(report)
    wait_until_drawn(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.execute_script(
        "return [...document.querySelectorAll('div.plot')].filter((p) => p.offsetParent !== null)"
        ".every((p) => p.getBoundingClientRect().right <= innerWidth"
        " && p.querySelector('.main-svg').clientWidth > (p.closest('.small') ? 150 : 200))"
    )


@pytest.mark.parametrize(("width", "height"), [(1440, 1000), (390, 844)])
def test_first_screen_holds_the_verdict_and_the_charts(browser: Chrome, report: str, width: int, height: int) -> None:
    set_width(browser, width, height)
    browser.get(report)
    plots = "return document.querySelectorAll('.view:not([hidden]) .js-plotly-plot').length"
    WebDriverWait(browser, PATIENCE).until(lambda b: b.execute_script(plots) == 3)
    assert len(browser.find_elements(By.CSS_SELECTOR, ".view:not([hidden]) .verdict li")) == 3
    for element in browser.find_elements(
        By.CSS_SELECTOR, ".line, .view:not([hidden]) :is(.verdict li, .js-plotly-plot)"
    ):
        place = element.rect
        assert place["height"] > 10
        assert 0 <= place["y"] < place["y"] + place["height"] <= height, element.get_attribute("class")
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.execute_script("return scrollY") == 0


@pytest.mark.parametrize("width", [1440, 390])
def test_caveats_open_to_their_text_with_the_keyboard(browser: Chrome, report: str, width: int) -> None:
    set_width(browser, width)
    browser.get(report)
    details = browser.find_elements(By.CSS_SELECTOR, "#overview details")
    assert len(details) > 2
    for one in details:
        text = one.find_element(By.CSS_SELECTOR, ":scope > :not(summary)")
        assert not text.is_displayed()
        one.find_element(By.TAG_NAME, "summary").send_keys("\n")
        assert text.is_displayed()
        assert len(text.text) > 40
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert console_errors(browser) == []


def test_first_screen_shows_one_hook_at_a_time(browser: Chrome, report: str) -> None:
    set_width(browser, 1440)
    browser.get(report)
    select = Select(browser.find_element(By.CSS_SELECTOR, "#overview .choice select"))
    views = browser.find_elements(By.CSS_SELECTOR, ".view")
    assert [view.is_displayed() for view in views] == [True, False]
    select.select_by_index(1)
    assert [view.is_displayed() for view in views] == [False, True]
    plots = "return document.querySelectorAll('.view:not([hidden]) .js-plotly-plot').length"
    WebDriverWait(browser, PATIENCE).until(lambda b: b.execute_script(plots) == 3)


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
