"""Why somebody waits: what lies idle behind the first in line, and who is in the way of a peer."""

import re

from conftest import Serve, Watched, looking
from playwright.sync_api import Browser, Locator, Page, expect
from server import Server
from visit import semaphore_page, to


def spotlight(page: Page, name: str) -> Locator:
    """What the front page says of a semaphore where somebody waits long."""
    return page.locator(".spotlight").filter(has=page.locator("a.name", has_text=re.compile(f"^{name}$")))


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


def test_the_front_page_names_what_the_first_in_line_waits_for(page: Page, server: Server) -> None:
    server.ask("PUT", "/v1/semaphore?name=gpu", {"max": 8, "deadlock": "detect"})
    server.ask("PUT", "/v1/semaphore?name=gpu-host", {"max": 1, "deadlock": "detect"})
    server.session({"gpu": 1}, {"host": "oldest"})
    server.session({"gpu": 1, "gpu-host": 1}, {"program": "train.py", "host": "w1"})
    first = server.session({"gpu": 1, "gpu-host": 1})
    server.session({"gpu": 1})
    to(page, server)
    spot = spotlight(page, "gpu")
    expect(spot).to_contain_text("6 of 8 idle; the first in line waits for gpu-host")
    # The one whose release helps, not whoever holds a GPU for the longest time.
    expect(spot.locator(".who")).to_have_text("train.py @w1")
    expect(spot).to_contain_text("holds gpu-host, for")
    # The semaphore that it lacks itself is told of its holder.
    host = spotlight(page, "gpu-host")
    expect(host).to_contain_text("1 of 1 held by")
    server.ask("PATCH", "/v1/semaphore?name=gpu-host", {"max": 0})
    expect(host).to_contain_text("paused; 1 still held")
    expect(spot).to_contain_text("gpu-host is paused")
    server.release(first)
    expect(spot).to_have_count(0)


def test_the_first_in_line_may_lack_this_and_another_one(page: Page, server: Server) -> None:
    """It asks for more than is free here, and for something that is held elsewhere."""
    for name, most in (("gpu", 8), ("gpu-host", 1)):
        server.ask("PUT", f"/v1/semaphore?name={name}", {"max": most, "deadlock": "detect"})
    for _ in range(6):
        server.session({"gpu": 1})
    server.session({"gpu-host": 1}, {"program": "train.py"})
    server.session({"gpu": 3, "gpu-host": 1})
    server.session({"gpu": 1})
    semaphore_page(page, server, "gpu")
    expect(page.locator(".why").first).to_contain_text(
        "6 of 8 are held; the first in line asks for 3, and 1 more must come free. The first in line asks "
        "for gpu-host in the same step, and waits there, too. Those behind it wait their turn."
    )
    expect(page.locator(".why.idle")).to_contain_text(
        "2 of gpu lie idle. 1 request waits behind the first in line, which asks for 3 here, and waits for "
        "gpu-host, too."
    )
    to(page, server)
    spot = spotlight(page, "gpu")
    expect(spot).to_contain_text("6 of 8 held; the first in line waits for gpu-host, too")
    expect(spot).to_contain_text("holds gpu-host, for")
    semaphore_page(page, server, "gpu-host")
    expect(page.locator(".why")).to_contain_text(
        "It is held, and there is one of it. The first in line asks for gpu in the same step, and waits "
        "there, too."
    )


def test_who_is_passed_over_for_another_semaphore_holds_up_nobody(page: Page, server: Server) -> None:
    for name, most in (("gpu", 2), ("disk", 1)):
        server.ask("PUT", f"/v1/semaphore?name={name}", {"max": most, "deadlock": "detect"})
    server.ask("PATCH", "/v1/semaphore?name=disk", {"max": 0})
    holder = server.session({"gpu": 2})
    server.session({"gpu": 1, "disk": 1}, {"host": "first"})
    server.session({"gpu": 2})
    semaphore_page(page, server, "gpu")
    passed = (
        "1 request shown here cannot have another semaphore yet that it asks for in the same step, and is "
        "passed over until then."
    )
    # Not of the first, which asks for one.
    expect(page.locator(".why")).to_have_count(1)
    expect(page.locator(".why")).to_contain_text(
        "All of 2 are held; the first in line asks for 2, and 2 more must come free. Those behind it wait "
        f"their turn. {passed}"
    )
    expect(page.locator("#queue tr.passed")).to_have_count(1)
    server.release(holder)
    expect(page.locator(".why")).to_have_text(
        f"Why they wait. {passed} The first in line waits for disk, which is paused."
    )
    to(page, server)
    spot = spotlight(page, "gpu")
    expect(spot).to_contain_text("the first in line is passed over; it waits for disk")
    expect(spot).to_contain_text("disk is paused")


def test_a_rate_tells_when_the_next_is_due(page: Page, server: Server) -> None:
    server.release(server.session({"rated": 3}))
    server.session({"rated": 2}, {"host": "first"})
    semaphore_page(page, server, "rated")
    expect(page.locator(".why")).to_contain_text(
        re.compile(
            r"3 of 4 come back by the rate of 4 per 1h; the first in line asks for 2, and enough comes back "
            r"in (59m \d\ds|1h 00m)\.$"
        )
    )
    to(page, server)
    spot = page.locator(".spotlight")
    expect(spot).to_contain_text(
        re.compile(r"nobody holds it; 3 cooling; the next comes back in (59m \d\ds|1h 00m)")
    )


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
