"""The dashboard below a path of a proxy, which takes that path off."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import CONFIGURATION, Serve, Watched, looking
from playwright.sync_api import Browser, Page, expect
from proxy import Nginx, documented
from server import Server
from visit import row, semaphore_page, to


class Below:
    """A path of a proxy."""

    def __init__(self, proxy: Nginx, path: str) -> None:
        self.url = f"{proxy.url}/{path}"


Front = Callable[[str], Nginx]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Starts an nginx with these locations."""
    started: list[Nginx] = []

    def start(locations: str) -> Nginx:
        started.append(Nginx(tmp_path, locations))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


@pytest.fixture
def below(front: Front, server: Server) -> Below:
    """Where the server is with the documented settings."""
    return Below(front(documented().replace("http://127.0.0.1:8000", server.url)), "throttle")


@pytest.fixture
def page(browser: Browser, below: Below, watched: Watched) -> Iterator[Page]:
    with looking(browser, below.url, watched) as page:
        yield page


def test_shows_what_happens(page: Page, below: Below, server: Server) -> None:
    to(page, below)
    expect(row(page, "mutex").locator(".cell-held")).to_have_text("0 of 1")
    holder = server.session({"mutex": 1}, {"host": "w1"})
    expect(row(page, "mutex").locator(".cell-held")).to_have_text("1 of 1")
    row(page, "mutex").get_by_role("link").click()
    expect(page.locator("#holders")).to_contain_text("@w1")
    expect(page.locator("#chart canvas")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("mutex")
    server.session({"mutex": 1}, {"host": "w2"})
    expect(page.locator("#queue")).to_contain_text("@w2")
    page.locator("#holders").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(holder)
    navigation = page.get_by_role("navigation")
    navigation.get_by_role("link", name="Peers").click()
    expect(page.locator("table.peers tbody .cell-peer")).to_have_count(2)
    navigation.get_by_role("link", name="Events").click()
    expect(page.locator(".event").first).to_contain_text("mutex")
    page.go_back()
    expect(page.locator("table.peers tbody .cell-peer")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("host:w2")
    page.get_by_role("link", name="All peers that match").click()
    expect(page.locator("table.peers tbody .cell-peer")).to_have_count(1)
    page.locator(".mark").click()
    expect(row(page, "mutex").locator(".cell-waiting")).to_have_text("1")


def test_acts(page: Page, below: Below, server: Server) -> None:
    server.session({"mutex": 1}, {"host": "stuck"})
    semaphore_page(page, below, "mutex")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Release @stuck…").click()
    dialog.get_by_role("button", name="Release it").click()
    expect(page.get_by_text("Nobody holds it.")).to_be_visible()
    page.get_by_role("button", name="Pause…").click()
    dialog.get_by_role("button", name="Pause it").click()
    expect(page.locator("h1 .badge")).to_have_text("paused")
    assert server.semaphore("mutex")["max"] == 0
    # In a path this proxy would decode the name.
    semaphore_page(page, below, "folder/name %&")
    page.get_by_role("button", name="Pause…").click()
    dialog.get_by_role("button", name="Pause it").click()
    expect(page.locator("h1 .badge")).to_have_text("paused")


def test_every_address_leads_somewhere(page: Page, below: Below) -> None:
    to(page, below)
    found = page.evaluate("[...document.querySelectorAll('[href], [src]')].map((one) => one.href || one.src)")
    assert len(found) > 12
    for url in {str(url) for url in found}:
        assert url.startswith(below.url + "/"), url
        assert page.request.get(url).status == 200, url
    description = page.request.get(f"{below.url}/openapi.json").json()
    assert [one["url"] for one in description["servers"]] == ["."]
    nothing = page.request.get(f"{below.url}/no/such/page")
    assert (nothing.status, re.findall('href="([^"]+)"', nothing.text())) == (
        404,
        ["./../../", "./../../metrics"],
    )


def test_the_address_without_the_last_slash_leads_there(page: Page, below: Below) -> None:
    page.goto(below.url)
    expect(page.locator("#state")).to_have_text("Live")
    expect(page).to_have_url(re.compile(re.escape(below.url) + "/"))


def test_a_page_without_its_files_says_why(
    browser: Browser, front: Front, server: Server, watched: Watched
) -> None:
    watched.may_fail = True
    nginx = front(f"location /throttle {{ rewrite ^/throttle/?(.*)$ /$1 break; proxy_pass {server.url}; }}\n")
    below = Below(nginx, "throttle")
    with looking(browser, nginx.url, watched) as page:
        why = page.get_by_text("Should its address end with a slash?")
        page.goto(below.url)
        expect(why).to_be_visible()
        to(page, below)
        expect(why).to_be_hidden()


def test_a_proxy_that_hides_the_host_lets_look(browser: Browser, front: Front, server: Server) -> None:
    server.session({"mutex": 1}, {"host": "w1"})
    below = Below(front(f"location /throttle/ {{ proxy_pass {server.url}/; }}\n"), "throttle")
    with looking(browser, below.url, Watched()) as page:
        semaphore_page(page, below, "mutex")
        page.get_by_role("button", name="Release @w1…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Release it").click()
        expect(dialog.get_by_role("alert")).to_contain_text("must pass the header Host on")
    assert server.semaphore("mutex")["holders_total"] == 1


def test_what_is_remembered_of_one_server_is_not_used_with_another(
    browser: Browser, front: Front, serve: Serve, watched: Watched
) -> None:
    names = ("one", "two")
    servers = {name: serve(CONFIGURATION) for name in names}
    nginx = front(
        "".join(
            documented().replace("/throttle/", f"/{name}/").replace("http://127.0.0.1:8000", server.url)
            for name, server in servers.items()
        )
    )
    with looking(browser, nginx.url, watched) as page:
        semaphore_page(page, Below(nginx, "one"), "wide")
        page.get_by_role("button", name="Pause…").click()
        page.get_by_role("button", name="Pause it").click()
        expect(page.locator("h1 .badge")).to_have_text("paused")
        page.get_by_role("button", name="Theme").click()
        for most in (7, 0):
            servers["two"].ask("PATCH", "/v1/semaphores/wide", {"max": most})
        for name, theme, offered in (("one", "light", "20"), ("two", "as the system", "7")):
            semaphore_page(page, Below(nginx, name), "wide")
            expect(page.get_by_role("button", name="Theme")).to_have_attribute(
                "aria-label", f"Theme: {theme}"
            )
            page.get_by_role("button", name="Resume…").click()
            expect(page.get_by_label("New max")).to_have_value(offered)
