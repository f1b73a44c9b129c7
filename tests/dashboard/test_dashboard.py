"""What people see in the dashboard, and what they can do there."""

import re
import signal
import urllib.parse
from typing import Any

import pytest
from accessible import check
from conftest import Serve, Watched
from playwright.sync_api import Browser, Page, expect
from server import Server
from visit import row, semaphore_page, to


def test_shows_who_holds_and_who_waits(page: Page, server: Server) -> None:
    holder = server.session({"mutex": 1}, {"host": "etl-3", "user": "ana"})
    server.session({"mutex": 1}, {"host": "w1"})
    to(page, server)
    spotlight = page.locator(".spotlight")
    expect(spotlight).to_contain_text("mutex")
    expect(spotlight).to_contain_text("ana@etl-3")
    expect(row(page, "mutex").locator(".cell-held")).to_have_text("1 of 1")
    expect(row(page, "mutex").locator(".cell-waiting")).to_have_text("1")
    row(page, "mutex").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("mutex")
    expect(page.locator("#holders")).to_contain_text("ana@etl-3")
    token = server.semaphore("mutex")["holders"][0]["token"]
    expect(page.locator("#holders")).to_contain_text(token)
    expect(page.locator(".why")).to_contain_text("It is held")
    page.locator("#holders").get_by_role("link", name="etl-3").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(holder)


def test_a_queue_moves_live(page: Page, server: Server) -> None:
    peers = [server.session({"mutex": 1}, {"host": f"w{number}"}) for number in range(4)]
    semaphore_page(page, server, "mutex")
    waiting = page.locator("#queue tbody tr:not(.space) .cell-peer")
    expect(waiting).to_have_count(3)
    expect(page.locator("#holders")).to_contain_text("@w0")
    for number in (1, 2, 3):
        server.release(peers[number - 1])
        expect(page.locator("#holders")).to_contain_text(f"@w{number}")
        expect(waiting).to_have_count(3 - number)
    expect(page.get_by_text("Nobody waits.")).to_be_visible()
    expect(page.locator(".events li").first).to_contain_text("granted")


def test_releases_a_stuck_peer(page: Page, server: Server) -> None:
    stuck = server.session({"mutex": 1}, {"host": "stuck"})
    server.session({"mutex": 1}, {"host": "next"})
    semaphore_page(page, server, "mutex")
    page.get_by_role("button", name="Release @stuck…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It loses what it holds: mutex (1)")
    expect(dialog).to_contain_text("fencing token")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert server.semaphore("mutex")["holders"][0]["peer"] == stuck
    page.get_by_role("button", name="Release @stuck…").click()
    dialog.get_by_label("Reason").fill("hangs since noon")
    dialog.get_by_role("button", name="Release it").click()
    expect(page.locator("#status")).to_contain_text("@stuck is released")
    expect(page.locator("#holders")).to_contain_text("@next")
    assert server.status("GET", f"/v1/peers/{stuck}") == 410
    page.goto(f"{server.url}/#/peers/{stuck}")
    expect(page.locator(".why")).to_contain_text("released by an operator")
    expect(page.locator(".why")).to_contain_text("hangs since noon")


def test_resizes_pauses_and_resumes(page: Page, server: Server) -> None:
    for _ in range(3):
        server.session({"wide": 4})
    semaphore_page(page, server, "wide")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Resize…").click()
    confirm = dialog.get_by_role("button", name="Resize")
    expect(confirm).to_be_disabled()
    dialog.get_by_label("New max").fill("ten")
    expect(confirm).to_be_disabled()
    dialog.get_by_label("New max").fill("10")
    expect(dialog).to_contain_text("Nobody loses a lock. 12 are held, so 2 must be given back")
    confirm.click()
    expect(page.locator("h1 .badge")).to_have_text("overcommitted by 2")
    page.get_by_role("button", name="Pause…").click()
    expect(dialog).to_contain_text("Nobody gets wide until it is resumed.")
    dialog.get_by_role("button", name="Pause it").click()
    expect(page.locator("h1 .badge")).to_have_text("paused")
    assert server.semaphore("wide")["max"] == 0
    page.get_by_role("button", name="Resume…").click()
    expect(dialog.get_by_label("New max")).to_have_value("10")
    dialog.get_by_label("New max").fill("30")
    dialog.get_by_role("button", name="Resume").click()
    expect(page.locator(".facts")).to_contain_text("12 of 30")


def test_a_refusal_is_told_in_the_dialog(page: Page, server: Server, watched: Watched) -> None:
    watched.may_fail = True
    server.ask("PUT", "/v1/semaphores/brief", {"max": 1})
    semaphore_page(page, server, "brief")
    page.get_by_role("button", name="Pause…").click()
    confirm = page.get_by_role("button", name="Pause it")
    expect(confirm).to_be_visible()
    server.ask("DELETE", "/v1/semaphores/brief")
    confirm.click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text('No semaphore is called "brief"')


def test_buttons_are_there_only_for_what_the_caller_may_do(page: Page, server: Server) -> None:
    server.session({"mutex": 1})
    answer = {"actions": [], "reason": "Ask somebody with a key."}
    page.route("**/v1/permissions", lambda route: route.fulfill(json=answer))
    semaphore_page(page, server, "mutex")
    expect(page.get_by_text("You can look, but not act. Ask somebody with a key.")).to_be_visible()
    expect(page.locator("#holders tbody .cell-peer")).to_have_count(1)
    expect(page.get_by_role("button", name=re.compile("Release|Pause|Resize"))).to_have_count(0)


def test_survives_a_restart(page: Page, server: Server, watched: Watched) -> None:
    watched.may_fail = True
    server.session({"mutex": 1}, {"host": "before"})
    to(page, server)
    expect(row(page, "mutex").locator(".cell-held")).to_have_text("1 of 1")
    server.stop()
    expect(page.locator("#state")).to_contain_text("Connection lost")
    expect(page.get_by_role("alert")).to_contain_text("goes on by itself")
    server.start()
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#lost")).to_be_hidden()
    # The new server knows nothing of the peer.
    expect(row(page, "mutex").locator(".cell-held")).to_have_text("0 of 1")
    server.session({"mutex": 1})
    expect(row(page, "mutex").locator(".cell-held")).to_have_text("1 of 1")


def test_notices_a_server_that_stands_still(page: Page, server: Server, watched: Watched) -> None:
    watched.may_fail = True
    to(page, server)
    server.signal(signal.SIGSTOP)
    try:
        expect(page.locator("#state")).to_contain_text("Connection lost")
    finally:
        server.signal(signal.SIGCONT)
    expect(page.locator("#state")).to_have_text("Live")


MARKUP = '<img src=x onerror="document.title=1"><script>1</script>'


def test_markup_stays_text(page: Page, server: Server) -> None:
    server.ask("PUT", f"/v1/semaphores/{urllib.parse.quote(MARKUP, safe='')}", {"max": 1})
    server.session({MARKUP: 1}, {MARKUP[:30]: MARKUP})
    waiter = server.session({MARKUP: 1}, {"reason": MARKUP})
    to(page, server)
    expect(row(page, MARKUP)).to_have_count(1)
    expect(page.locator(".spotlight")).to_contain_text(MARKUP)
    row(page, MARKUP).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(MARKUP)
    expect(page.locator("#holders .chip")).to_contain_text(MARKUP)
    page.locator("#queue").get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(MARKUP)
    dialog.get_by_label("Reason").fill(MARKUP)
    dialog.get_by_role("button", name="Release it").click()
    expect(page.locator(".events q").first).to_contain_text(MARKUP)
    page.goto(f"{server.url}/#/peers/{waiter}")
    expect(page.locator(".why")).to_contain_text(MARKUP)
    assert page.locator("img, main script").count() == 0


def test_searches_by_name_and_by_label(page: Page, server: Server) -> None:
    server.session({"wide": 1}, {"host": "needle-7"})
    server.session({"tenant/acme": 1})
    to(page, server)
    expect(row(page, "mutex")).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.type("ACME")
    expect(page.locator("tr.semaphore")).to_have_count(1)
    expect(row(page, "tenant/acme")).to_have_count(1)
    page.locator("#search").fill("host:needle")
    expect(page.get_by_text("No semaphore has host:needle in its name")).to_be_visible()
    expect(page.locator(".found li")).to_contain_text("holds wide")
    page.get_by_role("link", name="All peers that match").click()
    expect(page.locator("table.peers tbody .cell-peer")).to_contain_text("needle-7")
    # From another page, too.
    page.locator("#search").fill("mut")
    expect(row(page, "mutex")).to_have_count(1)
    assert page.url.endswith("#/?search=mut")


def test_every_state_has_its_look(page: Page, server: Server) -> None:
    for number in range(6):
        server.ask("POST", "/restore", {"expires_in": "1h", "peer_id": 100 + number, "acquired": {"s3": 1}})
    server.session({"paused": 1})
    rated = server.session({"rated": 3})
    server.release(rated)
    to(page, server)
    expect(row(page, "s3").locator(".badge")).to_have_text("overcommitted by 2")
    expect(row(page, "s3").locator(".bar-over")).to_have_count(1)
    expect(row(page, "paused").locator(".badge")).to_have_text("paused")
    expect(row(page, "rated").locator(".badge")).to_have_text("3 cooling")
    expect(row(page, "rated").get_by_role("img").first).to_have_attribute(
        "aria-label", "0 of 4 held, 3 cooling"
    )
    # Trouble stands first.
    expect(page.locator("tr.semaphore .name").first).to_have_text("s3")
    page.get_by_role("button", name="Paused 1").click()
    expect(page.locator("tr.semaphore")).to_have_count(1)
    expect(row(page, "paused").locator(".cell-held")).to_have_text("0")
    semaphore_page(page, server, "paused")
    expect(page.locator(".why")).to_contain_text("The semaphore is paused")
    expect(page.locator(".facts dd").first).to_have_text("0")


def test_an_absent_waiter_is_passed_over(page: Page, server: Server) -> None:
    holder = server.session({"mutex": 1})
    absent = server.session({"mutex": 1}, {"host": "gone"}, wait="1ms")
    waiting = server.session({"mutex": 1}, {"host": "here"})
    semaphore_page(page, server, "mutex")
    line = page.locator("#queue tbody tr").filter(has_text="gone")
    expect(line.locator(".estimate")).to_have_text("absent")
    expect(page.locator(".why")).to_contain_text("1 request shown here has lost its connection")
    server.release(holder)
    expect(page.locator("#holders")).to_contain_text("here")
    expect(line.locator(".place")).to_have_text("1")
    assert server.ask("GET", f"/v1/peers/{waiting}")["pending"] is None
    assert server.ask("GET", f"/v1/peers/{absent}")["pending"]["position"] == 1


def test_no_semaphores(page: Page, serve: Serve, server: Server, watched: Watched) -> None:
    empty = serve("")
    context = page.context.browser
    assert context is not None
    other = context.new_page()
    watched_there = Watched()
    watched_there.watch(other)
    other.goto(empty.url)
    expect(other.get_by_text("There are no semaphores yet.")).to_be_visible()
    empty.ask("PUT", "/v1/semaphores/first", {"max": 1})
    expect(row(other, "first")).to_have_count(1)
    empty.ask("DELETE", "/v1/semaphores/first")
    expect(other.get_by_text("There are no semaphores yet.")).to_be_visible()
    other.goto(f"{empty.url}/#/nowhere")
    expect(other.get_by_role("heading", level=1)).to_have_text("There is no such page")
    other.close()
    assert not watched_there.complaints


def test_ten_thousand_semaphores_are_a_few_rows(page: Page, serve: Serve, server: Server) -> None:
    many = "[semaphores]\n" + "".join(f'"many/{number:05}" = 3\n' for number in range(10_000))
    crowded = serve(many)
    context = page.context.browser
    assert context is not None
    other = context.new_page(viewport={"width": 1200, "height": 800})
    other.goto(crowded.url)
    expect(other.get_by_role("button", name="All 10,000")).to_be_visible()
    table = other.get_by_role("table", name="Semaphores")
    expect(table).to_have_attribute("aria-rowcount", "10001")
    assert other.locator("tr.semaphore").count() < 80
    # Somewhere in the middle.
    other.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    expect(other.locator("tr.semaphore .name").first).to_contain_text(re.compile("many/0[45]"))
    assert other.locator("tr.semaphore").count() < 80
    other.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(row(other, "many/09999")).to_be_in_viewport()
    other.locator("#search").fill("many/09999")
    expect(other.locator("tr.semaphore")).to_have_count(1)
    crowded.session({"many/09999": 2})
    expect(row(other, "many/09999").locator(".cell-held")).to_have_text("2 of 3")
    other.close()


def test_the_keyboard_is_enough(page: Page, server: Server) -> None:
    server.session({"mutex": 1}, {"host": "w1"})
    to(page, server)
    expect(row(page, "mutex")).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.type("mutex")
    expect(page.locator("tr.semaphore")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(row(page, "mutex").get_by_role("link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    release = page.get_by_role("button", name="Release @w1…")
    expect(release).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if release.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Reason")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nobody holds it.")).to_be_visible()


def test_arrow_keys_go_from_row_to_row(page: Page, server: Server) -> None:
    to(page, server)
    page.get_by_role("button", name="Semaphore", exact=True).click()
    first = page.locator("tr.semaphore .name")
    expect(first.first).to_have_text("folder/name %&")
    first.nth(0).focus()
    page.keyboard.press("ArrowDown")
    expect(first.nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(first.nth(0)).to_be_focused()


def fill(server: Server) -> str:
    for number in range(6):
        server.session({"wide": 4}, {"host": f"w{number}", "job": "import"})
    stuck = server.session({"mutex": 1}, {"host": "stuck"})
    for number in range(3):
        server.session({"mutex": 1}, {"host": f"q{number}"}, priority=number)
    server.session({"paused": 1})
    for number in range(6):
        server.ask("POST", "/restore", {"expires_in": "1h", "peer_id": 100 + number, "acquired": {"s3": 1}})
    server.release(server.session({"rated": 2}))
    return stuck


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desk", "phone"])
def test_is_accessible(browser: Browser, server: Server, scheme: Any, size: tuple[int, int]) -> None:
    stuck = fill(server)
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 500
    )
    page = context.new_page()
    watched = Watched()
    watched.watch(page)
    places = {
        "": "tr.semaphore",
        "semaphores/mutex": "#queue tbody .cell-peer",
        "semaphores/s3": "#holders tbody .cell-peer",
        "semaphores/paused": "#queue tbody .cell-peer",
        "peers": "table.peers tbody .cell-peer",
        f"peers/{stuck}": ".chip",
        "events": ".event",
        "cluster": ".empty",
        "about": ".listed li",
        "?search=stuck": ".found li",
    }
    for place, there in places.items():
        to(page, server, place)
        expect(page.locator(there).first).to_be_visible()
        check(page, place)
        too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not too_wide, f"{place} scrolls sideways"
    semaphore_page(page, server, "mutex")
    page.get_by_role("button", name="Release @stuck…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, "dialog")
    page.keyboard.press("Escape")
    to(page, server)
    page.get_by_role("button", name="New semaphore…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, "new semaphore")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in re.findall(r"\d+", ground)[:3])
    assert (brightness > 600) == (scheme == "light"), ground
    context.close()
    assert not watched.complaints


def test_the_theme_can_be_chosen_and_stays(page: Page, server: Server) -> None:
    to(page, server)
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = {page.evaluate(ground)}
    button = page.get_by_role("button", name=re.compile("Theme"))
    button.click()
    button.click()
    expect(button).to_have_attribute("aria-label", "Theme: dark")
    seen.add(page.evaluate(ground))
    assert len(seen) == 2
    page.reload()
    expect(button).to_have_attribute("aria-label", "Theme: dark")
    assert page.evaluate(ground) in seen
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_pages_of_other_origins_can_do_nothing(
    page: Page, serve: Serve, server: Server, watched: Watched
) -> None:
    watched.may_fail = True
    holder = server.session({"mutex": 1})
    other = serve("")
    foreign = page.context.new_page()
    foreign.goto(f"{other.url}/health")
    outcome = foreign.evaluate(
        """async (url) => {
            const tries = [
                fetch(url, { method: 'DELETE' }),
                fetch(url, { method: 'DELETE', mode: 'no-cors' }),
                fetch(url),
                fetch(new URL('/v1/heartbeats', url), { method: 'POST', mode: 'no-cors', body: '{}' }),
            ];
            return (await Promise.allSettled(tries)).map((one) => one.value?.type ?? 'refused');
        }""",
        f"{server.url}/v1/peers/{holder}",
    )
    assert outcome == ["refused", "refused", "refused", "opaque"]
    assert server.status("GET", f"/v1/peers/{holder}") == 200
    # Nor does it get the dashboard into a frame; but a link leads there.
    foreign.evaluate(
        "url => document.body.append(Object.assign(document.createElement('iframe'), { src: url }))",
        server.url,
    )
    foreign.evaluate(
        """url => {
            const link = Object.assign(document.createElement('a'), { href: url, innerText: 'go' });
            document.body.append(link);
        }""",
        server.url,
    )
    foreign.get_by_text("go").click()
    expect(foreign.locator("#state")).to_have_text("Live")
    foreign.close()
