"""Ways to the pages of a dashboard, wherever its server is reached."""

import urllib.parse
from typing import Any, Protocol

from playwright.sync_api import Page, expect

# Longer than anything should take on a busy machine.
expect.set_options(timeout=30_000)


class Site(Protocol):
    """What has a dashboard: a server, or a path of a proxy."""

    @property
    def url(self) -> str: ...


def to(page: Page, site: Site, where: str = "") -> None:
    page.goto(f"{site.url}/#/{where}")
    expect(page.locator("#state")).to_have_text("Live")


def semaphore_page(page: Page, site: Site, name: str) -> None:
    to(page, site, f"semaphores/{urllib.parse.quote(name, safe='')}")


def row(page: Page, name: str) -> Any:
    link = page.get_by_role("link", name=name, exact=True)
    return page.locator("table.semaphores tr.semaphore").filter(has=link)
