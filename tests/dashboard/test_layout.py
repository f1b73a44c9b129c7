"""What has no room on the page: it ends in an ellipsis, and there is a way to see all of it. Figures, times,
tokens, headings and who somebody is have room."""

import pytest
from playwright.sync_api import Browser, Page, expect
from server import Server
from visit import to

# Every text on the page, measured against all that could cut it off.
CUT = """() => {
    const WHOLE = 'h1, h2, h3, th, dt, dd, .number, .who, .id, .bare, .badge, .button, .filter, .legend';
    const found = [];
    const isUnseen = (box) => {
        for (let one = box; one; one = one.parentElement) {
            if (getComputedStyle(one).clipPath !== 'none') return true;
        }
        return !box.checkVisibility();
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode;
        const box = text.parentElement;
        if (!text.data.trim() || isUnseen(box)) continue;
        const range = document.createRange();
        range.selectNodeContents(text);
        const place = range.getBoundingClientRect();
        const around = box.closest('[id], [data-name], td, th')?.outerHTML.slice(0, 80);
        const say = (what) => found.push(`${what}: ${text.data.trim()} in ${around}`);
        if (!place.width) continue;
        let isClipped = false;
        for (let one = box; one && one !== document.body; one = one.parentElement) {
            const style = getComputedStyle(one);
            const edge = one.getBoundingClientRect();
            const isCell = one.matches('td, th');
            const padding = isCell ? parseFloat(style.paddingRight) : 0;
            const end = edge.right - parseFloat(style.borderRightWidth) - padding;
            const isOpen = style.overflowX === 'visible' && !isCell;
            if (['auto', 'scroll'].includes(style.overflowX)) {
                isClipped = true;
                break;
            }
            if (style.overflowY === 'hidden' && place.bottom > edge.bottom + 1) say('cut below');
            if (isOpen || place.right <= end + 1) continue;
            isClipped = true;
            const hasEllipsis = style.textOverflow === 'ellipsis' && style.overflowX === 'hidden'
                && !['flex', 'inline-flex', 'grid'].includes(style.display);
            const title = box.closest('[title]')?.title ?? '';
            const leads = box.closest('a[href]') !== null || title.includes(text.data.trim());
            if (!hasEllipsis) say('without an ellipsis');
            else if (box.closest(WHOLE)) say('must be whole');
            else if (!leads) say('no way to see it');
            break;
        }
        if (!isClipped && place.right > innerWidth + 1) say('beyond the page');
    }
    for (const field of document.querySelectorAll('input[placeholder]')) {
        if (isUnseen(field)) continue;
        const style = getComputedStyle(field);
        const pen = document.createElement('canvas').getContext('2d');
        pen.font = `${style.fontSize} ${style.fontFamily}`;
        const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
        if (pen.measureText(field.placeholder).width > room) found.push(`placeholder: ${field.placeholder}`);
    }
    return found;
}"""

LABELS = {
    "host": "worker-01",
    "program": "import.sh",
    "user": "etl",
    "pid": "4711",
    "team": "the-warehouse-and-its-loaders",
}
LONG = "warehouse/imports/of-all-the-tables/that-there-are/in-the-whole/of-the-company/every-night"


def check(page: Page, where: str) -> None:
    assert page.evaluate(CUT) == [], where


def test_on_a_phone_a_peer_has_room_for_what_it_holds_or_waits_for(browser: Browser, server: Server) -> None:
    server.session({"folder/name %&": 3}, LABELS)
    server.session({"folder/name %&": 1}, LABELS)
    server.ask("POST", "/v1/peers", {"expires_in": "1h"})
    page = browser.new_page(viewport={"width": 390, "height": 844})
    to(page, server, "peers")
    rows = page.locator(".peers tbody tr:not(.space)")
    expect(rows).to_have_count(3)
    for text, shown, hidden in (
        ("folder/name", "Holds", "Waits for"),
        ("worker-01", "Waits for", "Holds"),
        ("nothing", "Holds", "Waits for"),
    ):
        line = rows.filter(has_text=text).filter(has=page.locator(f"[data-name='{hidden}'] .none")).first
        expect(line.locator(f"[data-name='{shown}']")).to_be_visible()
        expect(line.locator(f"[data-name='{hidden}']")).to_be_hidden()
        assert line.evaluate(
            "(row, name) => row.querySelector(`[data-name='${name}']`).clientWidth > row.clientWidth - 40",
            shown,
        )
    page.close()


@pytest.mark.parametrize("width", [1440, 1341, 1200, 1024, 800, 390, 360])
def test_nothing_is_cut_off_without_a_sign(browser: Browser, server: Server, width: int) -> None:
    server.ask("PUT", f"/v1/semaphore?name={LONG}", {"max": 1})
    holder = server.session({"wide": 10, LONG: 1}, LABELS)
    server.session({"wide": 10})
    for priority in (0, 100):
        server.session({"wide": 20}, LABELS, priority=priority)
    waiter = server.session({LONG: 1}, LABELS)
    for number in range(6):
        server.ask("POST", "/restore", {"expires_in": "1h", "peer_id": 100 + number, "acquired": {"s3": 1}})
    server.release(server.session({"rated": 2}))
    closed = server.session({"paused": 1, "rated": 4})
    page = browser.new_page(viewport={"width": width, "height": 900})
    places = {
        "": "tr.semaphore",
        "semaphores/wide": "#queue .cell-peer",
        f"semaphores/{LONG.replace('/', '%2F')}": "#holders .cell-peer",
        "peers": ".peers .cell-peer",
        f"peers/{holder}": ".rows .cell-peer",
        f"peers/{waiter}": ".rows .cell-peer",
        f"peers/{closed}": "#blockers .cell-peer",
        "events": ".event",
        "cluster": ".empty",
        "about": ".listed li",
    }
    for where, there in places.items():
        to(page, server, where)
        expect(page.locator(there).first).to_be_visible()
        check(page, where)
    page.close()


@pytest.mark.parametrize("width", [1200, 800, 390])
def test_the_whole_of_what_is_cut_off_is_a_click_away(browser: Browser, server: Server, width: int) -> None:
    server.ask("PUT", f"/v1/semaphore?name={LONG}", {"max": 1})
    server.session({LONG: 1}, LABELS)
    page = browser.new_page(viewport={"width": width, "height": 900})
    to(page, server)
    page.get_by_role("link", name=LONG, exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(LONG)
    page.locator("#holders").get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("import.sh etl@worker-01")
    for value in LABELS.values():
        expect(page.locator("#content .labels")).to_contain_text(value)
    check(page, "peer")
    page.close()


@pytest.mark.parametrize("width", [1200, 800, 390])
def test_who_it_is_comes_first_and_is_whole(browser: Browser, server: Server, width: int) -> None:
    holder = server.session({"mutex": 1}, LABELS)
    server.session({"mutex": 1}, LABELS | {"program": "load.py"})
    server.session({"mutex": 1}, {"team": "blue"})
    page = browser.new_page(viewport={"width": width, "height": 900})
    to(page, server, "semaphores/mutex")
    peers = {"#holders": "import.sh etl@worker-01", "#queue": "load.py etl@worker-01"}
    for table, name in peers.items():
        expect(page.locator(f"{table} tbody .who").first).to_have_text(name)
    # Whoever says something else of himself is known by that.
    expect(page.locator("#queue tbody .cell-peer").nth(1)).to_contain_text("team blue")
    expect(page.locator(".events")).to_contain_text("mutex granted to import.sh etl@worker-01")
    check(page, "semaphore")
    to(page, server, "peers")
    expect(page.locator(".peers .who")).to_have_text([peers["#holders"], peers["#queue"]])
    check(page, "peers")
    to(page, server, "events")
    expect(page.locator(".events")).to_contain_text("load.py etl@worker-01 waits for mutex")
    # Also of those that are gone since.
    server.release(holder)
    expect(page.locator(".event", has_text="is gone: it was released")).to_contain_text(
        "import.sh etl@worker-01"
    )
    check(page, "events")
    # And to whoever opens the page only then.
    page.reload()
    expect(page.locator(".event", has_text="is gone: it was released")).to_contain_text(
        "import.sh etl@worker-01"
    )
    expect(page.locator(".event", has_text="given back by")).to_contain_text("import.sh etl@worker-01")
    page.close()
