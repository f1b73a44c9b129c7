"""What the dashboard says of the server itself: its name, since when it runs, what it keeps and serves."""

import re
from pathlib import Path

import pytest
from accessible import check
from conftest import CONFIGURATION, Serve, Watched, looking
from playwright.sync_api import Browser, Page, expect
from server import Server
from visit import row, semaphore_page, to

NAME = "Warehouse & co, 2nd floor"


def test_a_server_has_a_name(browser: Browser, serve: Serve, watched: Watched) -> None:
    server = serve(f'name = "{NAME}"\n{CONFIGURATION}')
    with looking(browser, server.url, watched) as page:
        to(page, server)
        expect(page.locator("#server-name")).to_have_text(NAME)
        expect(page).to_have_title(f"Semaphores · {NAME} · Throttle")
        to(page, server, "about")
        expect(page.get_by_role("heading", level=1)).to_have_text(NAME)


def test_a_server_without_a_name(page: Page, server: Server) -> None:
    to(page, server)
    expect(page.locator("#server")).to_contain_text("Throttle ")
    expect(page.locator("#server-name")).to_be_hidden()
    expect(page).to_have_title("Semaphores · Throttle")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "in memory: a restart forgets"),
        ('[durability]\ndata_dir = "data"', "durable: a restart forgets nothing"),
    ],
    ids=["memory", "durable"],
)
def test_says_what_it_is(browser: Browser, serve: Serve, watched: Watched, more: str, said: str) -> None:
    server = serve(f"{CONFIGURATION}\n{more}")
    version = server.ask("GET", "/version").decode()
    with looking(browser, server.url, watched) as page:
        to(page, server)
        expect(page.locator("#server")).to_have_text(
            re.compile(rf"^Throttle {re.escape(version)} · up for \d+s · {said}$")
        )
        page.get_by_role("link", name="About and documents").click()
        expect(page.locator(".facts")).to_contain_text(said)
        expect(page.locator(".facts")).to_contain_text(version)


def test_links_to_what_it_serves_and_names_its_documents(page: Page, server: Server) -> None:
    to(page, server, "about")
    served = page.locator("section[aria-labelledby=served] a")
    expect(served.first).to_be_visible()
    for link in served.all():
        assert page.request.get(str(link.evaluate("link => link.href"))).ok, link.inner_text()
    documents = page.locator("section[aria-labelledby=documents] li code")
    root = Path(__file__).parents[2]
    assert documents.count() > 10
    for document in documents.all_inner_texts():
        assert (root / document).is_file(), document
    check(page, "about")


def test_after_a_start_it_says_since_when(page: Page, server: Server) -> None:
    start = re.compile(r"[Ss]ince the start at \d\d:\d\d")
    to(page, server, "events")
    page.get_by_role("button", name="Granted").click()
    expect(page.locator(".empty")).to_have_text(re.compile(r"No events since the start at \d\d:\d\d\."))
    semaphore_page(page, server, "mutex")
    expect(page.locator("#hour")).to_have_text(start)
    to(page, server)
    expect(page.locator("th.cell-hour")).to_have_text(re.compile(r"Since \d\d:\d\d"))
    expect(page.locator("th.cell-hour")).to_have_attribute("title", start)


def test_a_server_that_ran_for_long_speaks_of_the_last_hour(page: Page, server: Server) -> None:
    known = server.ask("GET", "/v1/permissions")
    known["server"]["started_at"] = "2020-03-03T19:02:42Z"
    page.route("**/v1/permissions", lambda route: route.fulfill(json=known))
    semaphore_page(page, server, "mutex")
    expect(page.locator("#hour")).to_have_text("Last hour")
    to(page, server, "events")
    page.get_by_role("button", name="Granted").click()
    expect(page.locator(".empty")).to_have_text("No recent events.")


def test_grants_stand_beside_use(browser: Browser, serve: Serve, watched: Watched) -> None:
    server = serve('[semaphores]\nbusy = 2\n[limits]\nhistory_step = "1s"')
    for _ in range(7):
        server.release(server.session({"busy": 1}))
    with looking(browser, server.url, watched) as page:
        semaphore_page(page, server, "busy")
        # Hardly ever held when a sample is taken, and yet it is in use.
        expect(page.locator("#chart")).to_have_attribute(
            "aria-label", re.compile("up to [01] held.*, 7 granted$")
        )
        expect(page.locator(".u-legend")).to_contain_text("Granted a minute")
    seen = server.ask("GET", "/v1/history?semaphore=busy")["items"][0]
    assert sum(seen["grants"]) == 7
    assert len(seen["grants"]) == len(seen["acquired"])


def amber(page: Page, name: str) -> float:
    """How wide the bar of what is asked for is, of the whole."""
    bar = row(page, name).locator(".bar-pending")
    return float(str(bar.get_attribute("width")).rstrip("%"))


def test_the_amber_bar_has_a_legend_and_grows(page: Page, server: Server) -> None:
    server.session({"mutex": 1})
    to(page, server)
    expect(page.locator(".legend")).to_contain_text(
        "asked for by those who wait; half the width: as much as the max"
    )
    widths = []
    for number in range(1, 5):
        server.session({"mutex": 1})
        expect(row(page, "mutex").locator(".cell-waiting")).to_have_text(str(number))
        widths.append(amber(page, "mutex"))
    assert widths[0] == 50
    assert widths == sorted(set(widths))
    assert widths[-1] < 100
    semaphore_page(page, server, "mutex")
    expect(page.locator(".legend")).to_contain_text("asked for by those who wait")


def test_plain_words(page: Page, server: Server) -> None:
    server.session({"mutex": 1}, {"host": "w1"})
    semaphore_page(page, server, "mutex")
    expect(page.locator("#holders thead")).to_contain_text("Held for")
    expect(page.locator(".facts")).to_contain_text("the configuration file")
    expect(page.locator(".event").last).to_contain_text("mutex has a max of 1, by the configuration")
    # Of levels nothing is said before one is in play.
    expect(page.locator(".facts")).not_to_contain_text("Level")
    server.ask("PATCH", "/v1/semaphore?name=s3", {"level": 1})
    expect(page.locator(".facts")).to_contain_text(re.compile(r"Level\s*0"))
    to(page, server, "peers")
    expect(page.locator(".peers thead")).to_contain_text("Age")
    to(page, server, "events")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


def test_by_another_name_it_says_which_setting_to_write(browser: Browser, serve: Serve) -> None:
    server = serve(CONFIGURATION)
    # Browsers take every such name to this machine.
    url = f"http://shop.localhost:{server.port}"
    page = browser.new_page()
    answer = page.goto(url)
    assert answer is not None
    assert answer.status == 403
    expect(page.get_by_role("heading", level=1)).to_have_text("Throttle does not open here")
    setting = page.locator("pre").inner_text()
    assert setting == '[http]\nhosts = ["shop.localhost"]'
    # It is what it says.
    server.stop()
    file = server.directory / "throttle.toml"
    file.write_text(f"{CONFIGURATION}\n{setting}\n")
    server.start()
    page.goto(url)
    expect(page.locator("#state")).to_have_text("Live")
    page.get_by_role("button", name="New semaphore…").click()
    page.get_by_role("dialog").get_by_label("Name").fill("fresh")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("fresh")
    page.close()
