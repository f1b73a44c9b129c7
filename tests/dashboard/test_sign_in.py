"""Who looks at the dashboard of a server that asks."""

import subprocess
from pathlib import Path

from conftest import CONFIGURATION, Serve, Watched, looking
from playwright.sync_api import Browser, Page, expect
from server import SERVER, Server
from visit import row, to


def secured(file: Path) -> str:
    """What a server reads that asks for tokens of this file."""
    return f'{CONFIGURATION}[security]\ntokens = "{file}"\n'


def token(file: Path, name: str, *rights: str) -> str:
    """A new token of somebody who may do this."""
    allow = [part for right in rights for part in ("--allow", right)]
    made = subprocess.run(
        [SERVER, "token", "new", name, *allow, "--file", file], check=True, capture_output=True, text=True
    )
    return made.stdout.strip()


def sign_in(page: Page, server: Server, secret: str) -> None:
    """Opens the dashboard, and says who it is."""
    page.goto(server.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()


def test_whoever_is_known_is_let_in(browser: Browser, serve: Serve, watched: Watched, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    secret = token(file, "ana", "read:s3", "operate:s3")
    server = serve(secured(file))
    with looking(browser, server.url, watched) as page:
        sign_in(page, server, "thr_wrong")
        expect(page.get_by_role("alert").filter(has_text="not known here")).to_be_visible()
        sign_in(page, server, secret)
        expect(row(page, "s3")).to_be_visible()
        expect(page.locator("#state")).to_have_text("Live")
        expect(page.locator("#who")).to_have_text("ana")
        # What it may not look at is not there.
        expect(page.locator("#content")).not_to_contain_text("mutex")
        cookies = page.context.cookies()
        assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Strict")]
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert page.context.cookies() == []


def test_whoever_need_not_sign_in_cannot_sign_out(page: Page, server: Server) -> None:
    to(page, server)
    expect(page.locator("#who")).to_be_empty()
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()


def test_whoever_may_only_look_is_told_why(
    browser: Browser, serve: Serve, watched: Watched, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.toml"
    secret = token(file, "ana", "read")
    server = serve(secured(file))
    with looking(browser, server.url, watched) as page:
        sign_in(page, server, secret)
        expect(page.locator("#restricted")).to_contain_text('"ana" lacks the right "operate"')
        # A token that is taken away ends it.
        file.write_text("")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=60_000)


def test_buttons_are_there_for_the_semaphores_that_one_may_operate(
    browser: Browser, serve: Serve, watched: Watched, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.toml"
    ana, ops = token(file, "ana", "read", "operate:s*"), token(file, "ops", "admin")
    server = serve(secured(file))
    server.token = ops
    for name in ("s3", "mutex"):
        server.session({name: 1})
    with looking(browser, server.url, watched) as page:
        sign_in(page, server, ana)
        row(page, "s3").get_by_role("link").click()
        expect(page.get_by_role("button", name="Pause…")).to_be_visible()
        expect(page.locator("#holders").get_by_role("button", name="Release")).to_have_count(1)
        page.goto(f"{server.url}/#/semaphores/mutex")
        expect(page.locator("#holders tbody .cell-peer")).to_have_count(1)
        expect(page.get_by_text("operating is allowed to you over s*.")).to_be_visible()
        expect(page.get_by_role("button", name="Release")).to_have_count(0)
        expect(page.get_by_role("button", name="Pause…")).to_have_count(0)
        # Of what happened there it is not told to whom.
        expect(page.locator(".events")).to_contain_text("granted to a peer of somebody else")
        page.goto(f"{server.url}/#/peers")
        expect(page.get_by_text("of somebody else")).to_have_count(1)
