"""Why somebody waits: what lies idle behind the first in line, and who is in the way of a peer."""

import re

from conftest import Serve, Watched, looking
from playwright.sync_api import Browser, Page, expect
from server import Server
from visit import semaphore_page, to


def test_what_lies_idle_behind_the_first_in_line(page: Page, server: Server) -> None:
    """Four hold a GPU and its host, one waits for both, and three for a GPU alone; four of those are free."""
    server.ask("PUT", "/v1/semaphore?name=gpu", {"max": 8, "deadlock": "detect"})
    server.ask("PUT", "/v1/semaphore?name=gpu-host", {"max": 4, "deadlock": "detect"})
    holders = [server.session({"gpu": 1, "gpu-host": 1}) for _ in range(4)]
    server.session({"gpu": 1, "gpu-host": 1}, {"host": "first"})
    for _ in range(3):
        server.session({"gpu": 1})
    semaphore_page(page, server, "gpu")
    idle = page.locator(".why.idle")
    expect(idle).to_contain_text("4 of gpu lie idle.")
    expect(idle).to_contain_text("3 requests wait behind the first in line, which waits for gpu-host.")
    idle.get_by_role("link", name="gpu-host").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("gpu-host")
    # There the first in line lacks what it is; nobody waits behind it.
    expect(page.locator(".why").first).to_contain_text("All of 4 are held")
    expect(idle).to_have_count(0)
    semaphore_page(page, server, "gpu")
    expect(idle).to_have_count(1)
    server.release(holders[0])
    expect(page.get_by_text("Nobody waits.")).to_be_visible()
    expect(idle).to_have_count(0)


def test_what_lies_idle_behind_a_large_request(page: Page, server: Server) -> None:
    server.session({"wide": 18})
    server.session({"wide": 5})
    server.session({"wide": 1})
    semaphore_page(page, server, "wide")
    idle = page.locator(".why.idle")
    expect(idle).to_contain_text(
        "2 of wide lie idle. 1 request waits behind the first in line, which asks for 5."
    )


def test_nothing_is_idle_where_all_is_held(page: Page, server: Server) -> None:
    for _ in range(3):
        server.session({"mutex": 1})
    semaphore_page(page, server, "mutex")
    expect(page.locator(".why")).to_have_count(1)
    expect(page.locator(".why")).to_contain_text("It is held, and there is one of it.")


def test_a_semaphore_that_lets_pass_says_so(browser: Browser, serve: Serve, watched: Watched) -> None:
    # Nobody is passed for longer than a moment, so that somebody waits behind.
    server = serve(
        """
        [semaphores]
        gpu = { max = 8, deadlock = "detect", order = "pass" }
        gpu-host = { max = 1, deadlock = "detect" }
        [queue]
        pass_within = "0s"
        """
    )
    for _ in range(2):
        server.session({"gpu": 1, "gpu-host": 1})
    server.session({"gpu": 1})
    with looking(browser, server.url, watched) as page:
        semaphore_page(page, server, "gpu")
        expect(page.locator(".why.idle")).to_contain_text("Those that fit may pass it for a while.")
        expect(page.locator(".facts")).to_contain_text("who fits may pass, for a while")


def test_who_is_in_the_way_of_a_peer(page: Page, server: Server) -> None:
    server.session({"mutex": 1}, {"program": "import.sh", "user": "etl", "host": "w1"})
    waiter = server.session({"mutex": 1})
    to(page, server, f"peers/{waiter}")
    blockers = page.locator("#blockers tbody tr")
    expect(blockers).to_have_count(1)
    expect(blockers.locator(".who")).to_have_text("import.sh etl@w1")
    expect(blockers.locator(".blocks")).to_have_text("holds mutex")


def test_who_is_ahead_of_a_peer_and_what_he_waits_for(page: Page, server: Server) -> None:
    server.ask("PUT", "/v1/semaphore?name=gpu", {"max": 8, "deadlock": "detect"})
    server.ask("PUT", "/v1/semaphore?name=gpu-host", {"max": 1, "deadlock": "detect"})
    server.session({"gpu": 1, "gpu-host": 1})
    server.session({"gpu": 1, "gpu-host": 1}, {"program": "train.py", "host": "w1"})
    behind = server.session({"gpu": 1})
    to(page, server, f"peers/{behind}")
    blockers = page.locator("#blockers tbody tr")
    # Not the holder: there is enough of it.
    expect(blockers).to_have_count(1)
    expect(blockers.locator(".who")).to_have_text("train.py @w1")
    expect(blockers.locator(".blocks")).to_have_text("ahead in line for gpu; waits for gpu-host")
    blockers.get_by_role("link", name="gpu-host").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("gpu-host")


def test_a_pause_and_a_rate_are_in_the_way_of_a_peer(page: Page, server: Server) -> None:
    server.release(server.session({"rated": 4}))
    waiter = server.session({"paused": 1, "rated": 2})
    to(page, server, f"peers/{waiter}")
    blockers = page.locator("#blockers tbody tr")
    expect(blockers).to_have_count(2)
    expect(blockers.first.locator(".cell-peer")).to_have_text("paused")
    expect(blockers.first.locator(".blocks")).to_have_text("paused: its max is 0")
    expect(blockers.last.locator(".cell-peer")).to_have_text("rated")
    expect(blockers.last.locator(".blocks")).to_have_text(
        re.compile(r"held back by its rate; the next is due in (59m \d\ds|1h 00m)")
    )
    blockers.first.get_by_role("link", name="paused").click()
    expect(page.locator(".why")).to_contain_text("The semaphore is paused")


def test_what_later_servers_have_in_the_way_is_shown(page: Page, server: Server) -> None:
    server.session({"mutex": 1})
    waiter = server.session({"mutex": 1})
    seen = server.ask("GET", f"/v1/peers/{waiter}")
    seen["pending"]["blocked_by"] = [{"kind": "strike", "semaphore": "mutex", "peer": None, "count": 1}]
    page.route(f"**/v1/peers/{waiter}", lambda route: route.fulfill(json=seen))
    to(page, server, f"peers/{waiter}")
    expect(page.locator("#blockers .blocks")).to_have_text("not to be had yet")


def test_servers_that_say_no_kinds_tell_of_holders(page: Page, server: Server) -> None:
    server.session({"mutex": 1}, {"host": "w1"})
    waiter = server.session({"mutex": 1})
    seen = server.ask("GET", f"/v1/peers/{waiter}")
    for blocker in seen["pending"]["blocked_by"]:
        blocker.pop("kind", None)
    page.route(f"**/v1/peers/{waiter}", lambda route: route.fulfill(json=seen))
    to(page, server, f"peers/{waiter}")
    expect(page.locator("#blockers .blocks")).to_have_text("holds mutex")
