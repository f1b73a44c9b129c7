"""What can be done from the dashboard beside releasing and resizing: a dialog says what will happen first."""

from pathlib import Path

from conftest import Serve, Watched, looking
from playwright.sync_api import Browser, Page, expect
from server import Server
from test_sign_in import secured, sign_in, token
from visit import row, semaphore_page, to


def test_makes_a_semaphore(page: Page, server: Server) -> None:
    to(page, server)
    page.get_by_role("button", name="New semaphore…").click()
    dialog = page.get_by_role("dialog")
    make = dialog.get_by_role("button", name="Make it")
    expect(dialog).to_contain_text("It needs a name")
    expect(make).to_be_disabled()
    dialog.get_by_label("Name").fill("mutex")
    expect(dialog).to_contain_text("There is a semaphore of that name already, with a max of 1.")
    expect(make).to_be_disabled()
    dialog.get_by_label("Name").fill("tenant/acme")
    expect(dialog).to_contain_text("A pattern stands for that name now")
    dialog.get_by_label("Name").fill("crawl/example.org")
    expect(dialog).not_to_contain_text("A pattern stands for that name now")
    dialog.get_by_label("Max").fill("many")
    expect(make).to_be_disabled()
    dialog.get_by_label("Max").fill("8")
    dialog.get_by_label("Rate").fill("20s")
    expect(dialog).to_contain_text("Clients can lock crawl/example.org at once, up to 8 at the same time")
    expect(dialog).to_contain_text("the server starts anew")
    make.click()
    expect(page.locator("#status")).to_contain_text("crawl/example.org is made.")
    expect(page.get_by_role("heading", level=1)).to_have_text("crawl/example.org")
    made = server.semaphore("crawl/example.org")
    assert (made["max"], made["level"], made["per"]) == (8, 0, "20s")


def test_what_is_wrong_with_a_new_semaphore_is_told(page: Page, server: Server, watched: Watched) -> None:
    watched.may_fail = True
    to(page, server)
    page.get_by_role("button", name="New semaphore…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("fresh")
    dialog.get_by_label("Rate").fill("often")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog.get_by_role("alert")).to_contain_text('per is "often"')


def test_removes_a_semaphore(page: Page, server: Server) -> None:
    server.ask("PUT", "/v1/semaphore?name=brief", {"max": 1})
    semaphore_page(page, server, "brief")
    page.get_by_role("button", name="Remove…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nobody holds it, and nobody waits for it.")
    page.keyboard.press("Escape")
    assert server.semaphore("brief")["max"] == 1
    server.session({"brief": 1})
    server.session({"brief": 1})
    page.get_by_role("button", name="Remove…").click()
    expect(dialog).to_contain_text("1 lock is taken away.")
    expect(dialog).to_contain_text("1 request leaves the queue")
    dialog.get_by_role("button", name="Remove it from under them").click()
    expect(page.locator("#status")).to_contain_text("brief is removed.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Semaphores")
    expect(row(page, "mutex")).to_have_count(1)
    expect(row(page, "brief")).to_have_count(0)
    assert server.status("GET", "/v1/semaphore?name=brief") == 404


def test_of_a_semaphore_of_the_file_it_is_said_that_it_comes_back(page: Page, server: Server) -> None:
    semaphore_page(page, server, "mutex")
    page.get_by_role("button", name="Remove…").click()
    expect(page.get_by_role("dialog")).to_contain_text("It is in the configuration file: it is back after")


def test_resuming_offers_the_max_that_somebody_else_took(page: Page, server: Server) -> None:
    server.ask("PATCH", "/v1/semaphore?name=wide", {"max": 17})
    server.ask("PATCH", "/v1/semaphore?name=wide", {"max": 0})
    # A browser that was not there when it was paused, nor hears of it: so much happened since.
    for _ in range(60):
        server.release(server.session({"s3": 1}))
    semaphore_page(page, server, "wide")
    page.get_by_role("button", name="Resume…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("before that its max was 17")
    expect(dialog.get_by_label("New max")).to_have_value("17")
    dialog.get_by_role("button", name="Resume").click()
    expect(page.locator(".facts")).to_contain_text("0 of 17")


def test_resuming_offers_what_it_saw_before_the_pause(page: Page, server: Server) -> None:
    to(page, server)
    expect(row(page, "wide").locator(".cell-held")).to_have_text("0 of 20")
    server.ask("PATCH", "/v1/semaphore?name=wide", {"max": 0})
    expect(row(page, "wide").locator(".badge")).to_have_text("paused")
    row(page, "wide").get_by_role("link").click()
    page.get_by_role("button", name="Resume…").click()
    expect(page.get_by_role("dialog").get_by_label("New max")).to_have_value("20")


def test_says_what_a_waiting_client_will_do(page: Page, server: Server) -> None:
    server.session({"mutex": 1}, {"host": "holds"})
    server.session({"mutex": 1}, {"host": "waits"})
    semaphore_page(page, server, "mutex")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Release @holds…").click()
    expect(dialog).to_contain_text("Its program is not stopped.")
    expect(dialog).not_to_contain_text("does not ask again")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Release @waits…").click()
    expect(dialog).to_contain_text("It holds nothing.")
    expect(dialog).to_contain_text(
        "stops waiting with an error that has the reason, and does not ask again by itself"
    )
    expect(dialog).to_contain_text("Clients of releases up to 0.5 ask again at once")


def test_only_operators_make_and_remove(
    browser: Browser, serve: Serve, watched: Watched, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.toml"
    ana, eve = token(file, "ana", "read", "operate:s*"), token(file, "eve", "read")
    server = serve(secured(file))
    with looking(browser, server.url, watched) as page:
        sign_in(page, server, ana)
        page.get_by_role("button", name="New semaphore…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("other")
        expect(dialog).to_contain_text("Making other is not allowed to you.")
        expect(dialog.get_by_role("button", name="Make it")).to_be_disabled()
        dialog.get_by_label("Name").fill("s4")
        dialog.get_by_role("button", name="Make it").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("s4")
        expect(page.get_by_role("button", name="Remove…")).to_be_visible()
        page.goto(f"{server.url}/#/semaphores/mutex")
        expect(page.get_by_text("Nobody holds it.")).to_be_visible()
        expect(page.get_by_role("button", name="Remove…")).to_have_count(0)
    with looking(browser, server.url, watched) as page:
        sign_in(page, server, eve)
        expect(row(page, "mutex")).to_have_count(1)
        expect(page.get_by_role("button", name="New semaphore…")).to_have_count(0)


def test_events_say_who_did_it(browser: Browser, serve: Serve, watched: Watched, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    ana = token(file, "ana", "admin")
    server = serve(secured(file))
    server.token = ana
    stuck = server.session({"mutex": 1}, {"host": "stuck"})
    with looking(browser, server.url, watched) as page:
        sign_in(page, server, ana)
        row(page, "mutex").get_by_role("link").click()
        page.get_by_role("button", name="Release @stuck…").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("hangs since noon")
        page.get_by_role("dialog").get_by_role("button", name="Release it").click()
        server.ask("PATCH", "/v1/semaphore?name=mutex", {"max": 3})
        page.goto(f"{server.url}/#/events")
        taken = page.locator(".event").filter(has_text="taken by an operator from @stuck")
        expect(taken.locator(".by")).to_have_text("ana")
        expect(taken).to_contain_text("hangs since noon")
        expect(page.locator(".event").filter(has_text="mutex has a max of 3").locator(".by")).to_have_text(
            "ana"
        )
        # What clients do to themselves is nobody's act.
        expect(page.locator(".event").filter(has_text="granted to").locator(".by")).to_have_count(0)
        assert server.status("GET", f"/v1/peers/{stuck}") == 401


def test_an_open_server_names_nobody(page: Page, server: Server) -> None:
    server.ask("PATCH", "/v1/semaphore?name=mutex", {"max": 3})
    to(page, server, "events")
    expect(page.locator(".event").filter(has_text="mutex has a max of 3")).to_have_count(1)
    expect(page.locator(".by")).to_have_count(0)
