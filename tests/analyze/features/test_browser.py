"""The feature pages work in a real browser, opened from disk."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.analyze.features.site import HOSTILE, LARGE, TEXTS, write_site
from tests.browser import PATIENCE, console_errors, open_browser, set_width

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_site(tmp_path_factory.mktemp("features")).as_uri()


def visit(browser: Chrome, page: str, address: str = "") -> None:
    browser.get("about:blank")  # another address of the same page would not load it again
    browser.get(page + address)
    shows(browser, address or "#")


def shows(browser: Chrome, address: str) -> None:
    """Wait until what `address` names is shown."""
    script = "return document.getElementById('main').dataset.shown"
    WebDriverWait(browser, PATIENCE).until(lambda b: b.execute_script(script) == address)


def texts(browser: Chrome, selector: str) -> list[str]:
    return [node.text for node in browser.find_elements(By.CSS_SELECTOR, selector)]


def search(browser: Chrome, words: str) -> None:
    box = browser.find_element(By.ID, "query")
    box.clear()
    box.send_keys(words, Keys.ENTER)


def test_from_a_search_to_a_latent_to_its_nearest_in_another_size(browser: Chrome, page: str):
    visit(browser, page)
    assert texts(browser, "h2") == [f"{LARGE} latents"]
    search(browser, "the")
    shows(browser, "#x/large?search=the")
    found = texts(browser, ".list .name a")
    assert set(found[:3]) == {"#0", "#1", "#2"}  # the token itself, with a space and with a capital, comes first
    assert "#3" in found  # " there" holds it
    chips = texts(browser, ".list tr:first-child .chip.found")
    assert chips[0] in {"·the", "the"}
    # others may follow: the latent promotes them by rounding alone, in an order that depends on the processor
    assert set(chips[1:]) <= {"·the", "the", "·The", "·there"}
    browser.find_element(By.LINK_TEXT, "#0").click()
    shows(browser, "#x/large/0?search=the")
    assert texts(browser, "h2") == ["Latent 0"]
    assert texts(browser, ".effects.up .chip")[0] == "·the"
    near = browser.find_element(By.CSS_SELECTOR, ".near .pair")
    assert near.text == "#0 0.89"  # 1 / sqrt(1.25)
    near.find_element(By.TAG_NAME, "a").click()
    shows(browser, "#x/small/0")
    assert texts(browser, "h2") == ["Latent 0"]
    assert texts(browser, ".near .pair")[:2] == ["#0 0.89", "#20 0.45"]
    assert texts(browser, ".family a") == ["#0"]  # its child
    browser.back()
    shows(browser, "#x/large/0?search=the")
    browser.execute_script("scrollTo(0, 0)")  # coming back restores how far one had scrolled
    browser.find_element(By.PARTIAL_LINK_TEXT, "Results").click()
    shows(browser, "#x/large?search=the")
    assert console_errors(browser) == []


def test_a_search_that_is_only_typed_and_one_for_a_number(browser: Chrome, page: str):
    visit(browser, page, "#x/large")
    browser.find_element(By.ID, "query").send_keys("word17")
    shows(browser, "#x/large?search=word17")
    assert texts(browser, ".list .name a")[0] == "#17"
    search(browser, "#12")
    shows(browser, "#x/large/12")
    search(browser, " the")  # with its space: not the token without
    shows(browser, "#x/large?search=+the")
    assert "#2" not in texts(browser, ".list .name a")[:2]
    search(browser, "\\n")
    shows(browser, "#x/large?search=%5Cn")
    assert texts(browser, ".list .name a")[0] == "#4"
    search(browser, "no such token")
    shows(browser, "#x/large?search=no+such+token")
    assert "No latent" in browser.find_element(By.CSS_SELECTOR, ".note").text
    assert console_errors(browser) == []


def test_sorting_and_choosing_a_dictionary(browser: Chrome, page: str):
    visit(browser, page, "#x/large")
    Select(browser.find_element(By.ID, "sort")).select_by_value("number")
    shows(browser, "#x/large?sort=number")
    assert texts(browser, ".list .name a") == [f"#{i}" for i in range(LARGE)]
    assert texts(browser, ".list .rate")[-1] == "never"
    Select(browser.find_element(By.ID, "sort")).select_by_value("rare")
    shows(browser, "#x/large?sort=rare")
    rates = [float(rate.removesuffix(" %")) for rate in texts(browser, ".list .rate")[:-1]]
    assert rates == sorted(rates)
    Select(browser.find_element(By.ID, "dictionary")).select_by_value("x/small")
    shows(browser, "#x/small?sort=rare")
    assert console_errors(browser) == []


def test_leafing_by_key_and_a_longer_context(browser: Chrome, page: str):
    visit(browser, page, "#x/large/0")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT)
    shows(browser, "#x/large/1")
    body.send_keys(Keys.ARROW_LEFT)
    shows(browser, "#x/large/0")
    body.send_keys(Keys.ARROW_LEFT)
    shows(browser, f"#x/large/{LARGE - 1}")  # round to the last, which is dead
    assert "fires on none" in browser.find_element(By.CSS_SELECTOR, ".examples").text
    visit(browser, page, "#x/large/0")
    spans = "return document.querySelectorAll('.examples .text > span').length"
    short = browser.execute_script(spans)
    button = browser.find_element(By.XPATH, "//button[text()='Longer context']")
    button.click()
    assert browser.execute_script(spans) > short
    button.click()
    assert browser.execute_script(spans) == short
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("/")
    assert browser.switch_to.active_element.get_attribute("id") == "query"


def test_every_peak_is_framed_and_shaded_and_every_example_is_its_token(browser: Chrome, page: str):
    visit(browser, page, "#x/large/12")
    peaks = browser.find_elements(By.CSS_SELECTOR, ".examples .peak")
    assert len(peaks) == len(browser.find_elements(By.CSS_SELECTOR, ".examples li"))
    assert {peak.text.strip() for peak in peaks} == {"word12"}
    heat = browser.execute_script(
        "return [...document.querySelectorAll('.examples .peak')].map((p) => p.style.getPropertyValue('--heat'))"
    )
    assert heat[0] == "1.000"
    assert set(heat) == {"1.000", "0.499"}  # an activation is 0.999 or 2


def test_hostile_tokens_stay_text_and_whitespace_is_seen(browser: Chrome, page: str):
    visit(browser, page, "#x/large?sort=number")
    chips = {row: texts(browser, f".list tbody tr:nth-child({row + 1}) .chip")[0] for row in range(12)}
    assert chips[0] == "·the"
    assert chips[4] == "↵↵"
    assert chips[5] == "·×8"
    assert (chips[6], chips[7]) == ("é", "\\xE2")
    assert chips[8] == HOSTILE.replace(" ", "·")
    assert chips[9] == TEXTS[9]
    assert chips[10] == "\\u{202e}gnirts"
    for latent in (8, 9, 10):
        visit(browser, page, f"#x/large/{latent}")
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert browser.find_elements(By.CSS_SELECTOR, ".text b, .chip b, .text script") == []
    assert "broken" not in browser.title
    visit(browser, page, "#x/large/4000000")
    assert "no latent" in browser.find_element(By.CSS_SELECTOR, ".note").text
    visit(browser, page, "#x/%3Cimg%20src=x%3E")
    assert "No pages were made" in browser.find_element(By.CSS_SELECTOR, ".note").text
    assert console_errors(browser) == []


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("address", ["#x/large", "#x/large/8", "#x/large/5", "#x/large?search=word"])
def test_nothing_reaches_beyond_the_page(browser: Chrome, page: str, width: int, address: str):
    set_width(browser, width)
    visit(browser, page, address)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Chrome, page: str, scheme: str):
    """WCAG 2.1: a contrast of 4.5 for text, also on the strongest shading."""
    set_width(browser, 1440)
    scheme_is = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme_is)
    visit(browser, page, "#x/large/12")
    contrasts = browser.execute_script(CONTRAST)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(contrasts) > 50
    assert [(what, ratio) for what, ratio in contrasts if ratio < 4.5] == []


CONTRAST = """
const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
const brush = canvas.getContext("2d", { willReadFrequently: true });
const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
function luminance(colours) { // of colours laid over one another
  brush.clearRect(0, 0, 1, 1);
  for (const colour of colours) { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); }
  const [r, g, b] = [...brush.getImageData(0, 0, 1, 1).data].map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!own || !node.getClientRects().length || node.closest(".hidden, select, script, style, svg")) continue;
  const grounds = [];
  for (let at = node; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
  const [ground, ink] = [luminance(grounds), luminance([...grounds, getComputedStyle(node).color])];
  const ratio = (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
  found.push([`${node.tagName}.${node.className} ${node.textContent.slice(0, 20)}`, ratio]);
}
return found;
"""
