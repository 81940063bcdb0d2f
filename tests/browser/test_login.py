"""Logging in and out in a browser; each page at a phone's width, in both themes, and by axe."""

from tests.browser.browser import Browser
from tests.browser.conftest import Keys
from tests.pages.visitor import make_link


def test_the_pages_of_visitors_fit_and_keep_nobody_out(browser: Browser) -> None:
    browser.check("/login")


def test_a_key_logs_in_and_what_was_asked_for_is_shown(browser: Browser, keys: Keys) -> None:
    browser.open("/?range=7d")
    assert browser.path == "/login?next=%2F%3Frange%3D7d"
    browser.find("#key").send_keys("nonsense")
    browser.press("Log in")
    assert browser.find("[role=alert]").text == "This key is not valid."
    # Browsers say in the console that an answer was a 401.
    assert [message for message in browser.messages() if "401" not in message] == []
    browser.find("#key").send_keys(keys.ordinary)
    browser.press("Log in")
    assert browser.path == "/?range=7d"
    assert browser.run("return document.cookie") == ""
    browser.press("Log out")
    assert browser.path == "/login"
    browser.open("/")
    assert browser.path == "/login"
    assert browser.messages() == []


def test_a_login_leads_to_no_other_site(browser: Browser, keys: Keys) -> None:
    browser.open("/login?next=//example.com/")
    browser.find("#key").send_keys(keys.ordinary)
    browser.press("Log in")
    assert browser.path == "/"


def test_a_link_logs_in_once(browser: Browser) -> None:
    link = make_link(browser.server)
    browser.open(link)
    assert browser.path == "/"
    browser.press("Log out")
    browser.open(link)
    assert "was used before" in browser.find("[role=alert]").text


def test_an_administrator_makes_and_revokes_a_key_that_then_logs_nobody_in(admin: Browser) -> None:
    admin.check("/keys")
    admin.find("#name").send_keys("by browser")
    admin.find("#scope").send_keys("reading")
    admin.press("Make key")
    raw_key = admin.find("[data-raw-key]").text
    assert raw_key.startswith("seestack_live_")
    admin.find("tbody a").click()
    admin.wait("location.pathname.length > '/keys/'.length")
    admin.check(admin.path)
    admin.find("#requests_per_second").send_keys("5")
    admin.press("Set limits")
    assert admin.find("#requests_burst").get_attribute("value") == "5"
    admin.find("input[type=checkbox]").click()
    admin.press("Revoke key")
    assert "revoked" in admin.find("tbody tr").text
    assert admin.messages() == []
    admin.press("Log out")
    admin.log_in(raw_key)
    assert admin.find("[role=alert]").text == "This key is not valid."


def test_the_name_of_a_project_is_only_text(admin: Browser) -> None:
    admin.open("/keys")
    name = "<script>document.title='taken'</script>"
    admin.find("#project").send_keys(name)
    admin.press("Make project")
    for path in ("/keys", "/"):
        admin.open(path)
        assert name in admin.text
        assert admin.run("return document.title") != "taken"
    assert admin.messages() == []


def test_the_health_page_fits_and_keeps_nobody_out(admin: Browser) -> None:
    admin.check("/health")
