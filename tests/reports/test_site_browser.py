"""The site in a real browser, from files: no console message, no request to elsewhere, keyboard and themes."""

import json
import shutil
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (apt: chromium-driver)"
    ),
    pytest.mark.timeout(300),
]
QUIET = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
)
QUIET += ("disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1280,1000")


# The browser's own start page may still be loading when the first test begins.
LOCAL = ("file:", "data:", "chrome:", "chrome-untrusted:")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in QUIET:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def requests_of(browser):
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def open_page(browser, site, name):
    browser.get((site.folder / name).resolve().as_uri())


def test_every_page_is_quiet_and_local(browser, site):
    browser.get_log("browser")
    requests_of(browser)
    slowest = 0.0
    for name in site.pages:
        start = time.perf_counter()
        open_page(browser, site, name)
        slowest = max(slowest, time.perf_counter() - start)
        assert browser.get_log("browser") == [], name
        outside = [u for u in requests_of(browser) if not u.startswith(LOCAL)]
        assert outside == [], name
        wide = browser.execute_script("return document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"{name} scrolls sideways"
    assert slowest < 10


def test_narrow_screen_does_not_scroll_sideways(browser, site):
    browser.set_window_size(500, 900)
    try:
        for name in ("index.html", "published.html", "audit.html", "runs/2026-01-02-latency.html"):
            open_page(browser, site, name)
            assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), name
    finally:
        browser.set_window_size(1280, 1000)


def test_theme_is_switched_and_charts_follow(browser, site):
    open_page(browser, site, "index.html")
    read = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(read)
    ink = "return getComputedStyle(document.querySelector('figure svg text')).fill"
    ink_before = browser.execute_script(ink)
    browser.find_element("id", "theme").click()
    assert browser.execute_script(read) != before
    assert browser.execute_script(ink) != ink_before
    browser.find_element("id", "theme").click()
    assert browser.execute_script(read) == before


def test_keyboard_reaches_everything(browser, site):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, site, "index.html")
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.execute_script("return document.activeElement.id") == "main"
    open_page(browser, site, "index.html")
    reached = set()
    for _ in range(60):
        browser.find_element("tag name", "body")
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.execute_script("return document.activeElement.tagName"))
    assert {"A", "BUTTON", "SUMMARY", "DIV"} <= reached


def test_ratios_are_sorted_and_followed_by_keyboard_alone(browser, site):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, site, "index.html")
    region = "[aria-label='Ratios of contenders that took turns']"
    head = browser.find_element("css selector", f"{region} th:nth-child(4) button")
    browser.execute_script("arguments[0].focus()", head)
    head.send_keys(Keys.ENTER)
    cells = browser.find_elements("css selector", f"{region} tbody td:nth-child(4)")
    shown = [float(c.text.split()[0]) for c in cells if c.text]
    assert len(shown) == 2 and shown == sorted(shown)
    link = browser.find_element("css selector", f"{region} a[href*='runs/']")
    assert "blocks of run" in link.get_attribute("aria-label")
    link.send_keys(Keys.ENTER)
    assert "-versus.html" in browser.current_url and browser.find_elements("css selector", region)


def test_tables_sort_and_claims_filter(browser, site):
    open_page(browser, site, "index.html")
    button = browser.find_elements("css selector", "table.sortable th button")[2]
    button.click()
    values = [
        float(c.text)
        for c in browser.find_elements("css selector", "table.sortable tbody td:nth-child(3)")[:5]
    ]
    assert values == sorted(values)
    button.click()
    values = [
        float(c.text)
        for c in browser.find_elements("css selector", "table.sortable tbody td:nth-child(3)")[:5]
    ]
    assert values == sorted(values, reverse=True)
    open_page(browser, site, "audit.html")
    shown = browser.find_element("css selector", "fieldset.filter output")
    assert shown.text == "44 of 44"
    browser.find_element("css selector", "fieldset.filter input[value='holds']").click()
    assert shown.text == "29 of 44"


def test_pages_read_without_script(site):
    """What a script adds is convenience: tables, figures and filters' rows are in the HTML itself."""
    text = (site.folder / "audit.html").read_text()
    assert text.count('data-verdict="') == 44 and "hidden><legend>Show" in text
