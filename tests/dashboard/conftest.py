"""A real server and a real Chromium."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from server import Server

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

CONFIGURATION = """
[semaphores]
mutex = 1
wide = 20
s3 = 4
paused = 0
rated = { max = 4, per = "1h" }
"folder/name %&" = 3
"tenant/*" = 3
[queue]
absent_after = "0s"
"""

Serve = Callable[[str], Server]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(configuration: str) -> Server:
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        servers.append(Server(directory, configuration))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(CONFIGURATION)


class Watched:
    """What a page must not do: fail, complain, or ask another server than its own."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.may_fail = False

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.hear(message.text))
        page.on("request", lambda request: self.requests.append(request.url))

    def hear(self, text: str) -> None:
        # The browser's own words for a refusal, which the page shows in its own.
        if "the server responded with a status of 4" not in text:
            self.complaints.append(text)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@contextmanager
def looking(browser: Browser, url: str, watched: Watched) -> Iterator[Page]:
    """A page of a browser that asks for nothing but what is at this URL or below it."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    watched.watch(page)
    yield page
    outside = [asked for asked in watched.requests if asked != url and not asked.startswith(url + "/")]
    assert not outside
    # A server that restarts is a failed request, and the browser says so.
    assert watched.may_fail or not watched.complaints, watched.complaints
    context.close()


@pytest.fixture
def page(browser: Browser, server: Server, watched: Watched) -> Iterator[Page]:
    with looking(browser, server.url, watched) as page:
        yield page
