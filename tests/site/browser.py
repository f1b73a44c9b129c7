"""The built site in a real browser, over HTTP as users have it."""

import functools
import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Error, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line for each."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Patient(http.server.ThreadingHTTPServer):
    """A server that says nothing of a browser that hangs up."""

    def handle_error(self, *_: object) -> None:
        """Nothing: a page that lacks something fails its check."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the files of a folder."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = Patient(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def found_by_search(book: Path, searches: Mapping[str, str]) -> list[str]:
    """What the search of the site should find, and does not."""
    wrong = []
    with served(book) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for word, page_name in searches.items():
            page = browser.new_page()
            page.goto(f"{address}/index.html?search={quote(word)}")
            link = page.locator(f'#mdbook-searchresults a[href*="{page_name}"]').first
            try:
                link.wait_for(state="visible")
            except Error:
                wrong.append(f"the search for {word!r} does not find {page_name}")
            page.close()
        browser.close()
    return wrong
