"""Long lists: pages of peers, semaphores, holders and waiters, in an order and by a filter of one's own."""

import re

from conftest import Serve, Watched, looking
from playwright.sync_api import Browser, Locator, Page, expect
from server import Server
from visit import row, semaphore_page, to

PEERS = 1200


def pages_of(page: Page, what: str) -> Locator:
    return page.get_by_role("navigation", name=f"Pages of {what}", exact=True)


def test_peers_have_pages(page: Page, server: Server) -> None:
    for index in range(PEERS):
        server.ask("POST", "/v1/peers", {"expires_in": "1h", "labels": {"host": f"h{index:04}"}})
    to(page, server, "peers")
    rows = page.locator("table.peers tbody tr:not(.space)")
    pages = pages_of(page, "peers")
    expect(pages).to_contain_text("1 to 1,000 of 1,200 peers")
    expect(rows.first).to_contain_text("@h0000")
    # Only rows in sight are there.
    assert rows.count() < 80
    expect(pages.get_by_role("button", name="Previous")).to_be_disabled()
    pages.get_by_role("button", name="Next").click()
    expect(pages).to_contain_text("1,001 to 1,200 of 1,200 peers")
    expect(rows.first).to_contain_text("@h1000")
    expect(page.locator(".figure").first).to_have_text("1,200")
    expect(page.get_by_text("Counts and order are those of the 200 peers on this page.")).to_be_visible()
    expect(pages.get_by_role("button", name="Next")).to_be_disabled()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(rows.last).to_contain_text("@h1199")
    pages.get_by_role("button", name="Previous").click()
    expect(rows.first).to_contain_text("@h0000")


def test_holders_and_waiters_have_pages(page: Page, server: Server) -> None:
    server.ask("PUT", "/v1/semaphores/crowd", {"max": 250})
    for index in range(1450):
        server.session({"crowd": 1}, {"host": f"h{index:04}"})
    semaphore_page(page, server, "crowd")
    holders, queue = pages_of(page, "holders"), pages_of(page, "requests")
    expect(holders).to_contain_text("1 to 200 of 250 holders")
    expect(queue).to_contain_text("1 to 200 of 1,200 requests")
    first_holder = page.locator("#holders tbody tr:not(.space)").first
    first_waiter = page.locator("#queue tbody tr:not(.space)").first
    expect(first_holder).to_contain_text("@h0000")
    expect(first_waiter).to_contain_text("@h0250")
    holders.get_by_role("button", name="Next").click()
    expect(holders).to_contain_text("201 to 250 of 250 holders")
    expect(first_holder).to_contain_text("@h0200")
    expect(holders.get_by_role("button", name="Next")).to_be_disabled()
    # The queue stays where it is.
    expect(first_waiter).to_contain_text("@h0250")
    for place in ("201", "401", "601", "801", "1,001"):
        queue.get_by_role("button", name="Next").click()
        expect(first_waiter.locator(".place")).to_have_text(place)
    expect(first_waiter).to_contain_text("@h1250")
    expect(queue).to_contain_text("1,001 to 1,200 of 1,200 requests")
    expect(queue.get_by_role("button", name="Next")).to_be_disabled()
    # Why they wait is told of the first in line, whichever part of the queue is shown.
    expect(page.locator(".why").first).to_contain_text("All of 250 are held; the first in line asks for 1")
    queue.get_by_role("button", name="Previous").click()
    expect(first_waiter.locator(".place")).to_have_text("801")


def test_a_page_of_which_nobody_is_left_is_left(page: Page, server: Server) -> None:
    server.ask("PUT", "/v1/semaphores/crowd", {"max": 250})
    peers = [server.session({"crowd": 1}) for _ in range(201)]
    semaphore_page(page, server, "crowd")
    holders = pages_of(page, "holders")
    holders.get_by_role("button", name="Next").click()
    expect(holders).to_contain_text("201 of 201 holders")
    server.release(peers[-1])
    expect(page.locator("#holders")).to_have_attribute("aria-rowcount", "201")
    expect(holders).to_have_count(0)


def test_semaphores_have_pages(browser: Browser, serve: Serve, watched: Watched) -> None:
    names = "\n".join(f'"many/{index:05}" = 3' for index in range(20_500))
    crowded = serve(f"[semaphores]\n{names}")
    with looking(browser, crowded.url, watched) as page:
        to(page, crowded)
        pages = pages_of(page, "semaphores, by name")
        expect(pages).to_contain_text("1 to 20,000 of 20,500 semaphores")
        pages.get_by_role("button", name="Next").click()
        expect(pages).to_contain_text("20,001 to 20,500 of 20,500 semaphores")
        expect(row(page, "many/20000")).to_have_count(1)
        # What happens there is told, and what happens elsewhere is not mixed into it.
        crowded.session({"many/20400": 2})
        crowded.session({"many/00001": 2})
        expect(row(page, "many/20400").locator(".cell-held")).to_have_text("2 of 3")
        expect(row(page, "many/00001")).to_have_count(0)
        pages.get_by_role("button", name="Previous").click()
        expect(row(page, "many/00001").locator(".cell-held")).to_have_text("2 of 3")


def test_peers_are_filtered_and_sorted(page: Page, server: Server) -> None:
    server.session({"mutex": 1, "wide": 3}, {"host": "b", "program": "load"})
    server.session({"wide": 1}, {"host": "a", "program": "load"})
    for host in ("d", "c"):
        server.session({"mutex": 1}, {"host": host, "program": "wait"})
    server.ask("POST", "/v1/peers", {"expires_in": "1h", "labels": {"host": "e", "program": "idle"}})
    to(page, server, "peers")
    who = page.locator("table.peers tbody .who")
    expect(who).to_have_text(["load @b", "load @a", "wait @d", "wait @c", "idle @e"])
    for name in ("All 5", "Holding 2", "Waiting 2", "Idle 1", "Overdue 0"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Overdue 0")).to_be_disabled()
    page.get_by_role("button", name="Waiting 2").click()
    expect(who).to_have_text(["wait @d", "wait @c"])
    page.get_by_role("button", name="Who").click()
    expect(who).to_have_text(["wait @c", "wait @d"])
    page.get_by_role("button", name="All 5").click()
    expect(who).to_have_text(["idle @e", "load @a", "load @b", "wait @c", "wait @d"])
    heading = page.get_by_role("columnheader", name="Holds")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    expect(who.first).to_have_text("load @b")
    page.get_by_role("columnheader", name="Waits for").get_by_role("button").click()
    expect(who.first).to_have_text("wait @d")
    page.get_by_label("Find peers by label or id").fill("program:load")
    page.get_by_role("button", name="Find").click()
    expect(page).to_have_url(re.compile(r"#/peers\?search=program%3Aload$"))
    expect(who).to_have_text(["load @b", "load @a"])
    expect(page.get_by_role("button", name="Holding 2")).to_be_visible()
