"""Open a page in a real browser: headless Chromium through selenium, offline."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PATIENCE = 180  # seconds to wait for a page, also where other work takes the cores


@contextmanager
def open_browser(profile: Path, width: int = 1440, height: int = 900) -> Iterator[Chrome]:
    """Yield a browser with an empty profile in `profile`; skip the test where Chromium or its driver is missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver found: install both from the system's packages")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(driver))  # a driver by path: selenium fetches none
    try:
        browser.set_page_load_timeout(PATIENCE)
        browser.set_script_timeout(PATIENCE)
        set_width(browser, width, height)
        yield browser
    finally:
        browser.quit()


def set_width(browser: Chrome, width: int, height: int = 900) -> None:
    """Make the page this many CSS pixels wide; a window is never as narrow as a telephone."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait_until_drawn(browser: Chrome) -> int:
    """Draw every panel that is shown, also far from the screen, wait for it, and return how many there are."""
    script = """
        for (const panel of shownPanels()) draw(panel);
        const marks = ".main-svg .trace, .main-svg .heatmaplayer image, .kin [data-feature]";
        const panels = [...shownPanels()];
        return panels.every((panel) => panel.querySelector(marks)) ? panels.length : -1;
    """
    WebDriverWait(browser, PATIENCE).until(lambda b: b.execute_script(script) >= 0)
    return browser.execute_script(script)


def console_errors(browser: Chrome) -> list[str]:
    """Return what the page has written to the console as an error since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
