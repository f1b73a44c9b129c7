"""What has no room on the page: names and lists may end in an ellipsis, figures, times and tokens may not."""

import pytest
from playwright.sync_api import Browser, expect
from server import Server
from visit import to

CUT = """() => {
    const room = (box) => {
        const style = getComputedStyle(box);
        return box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    };
    const whole = '.rows th, .rows td.number, .rows [data-name="Expires in"], .rows .id, .rows .bare';
    const cut = [...document.querySelectorAll(whole)].filter((one) => {
        const cell = one.closest('th, td');
        // On a phone the heads of tables are there for screen readers only.
        const isSeen = one.checkVisibility() && !(one.matches('th') && innerWidth <= 700);
        if (!isSeen || one.querySelector('.unseen')) return false;
        const text = document.createRange();
        text.selectNodeContents(one);
        const end = cell.getBoundingClientRect().right - parseFloat(getComputedStyle(cell).paddingRight);
        const isTooWide = cell === one && one.scrollWidth > one.clientWidth;
        return isTooWide || text.getBoundingClientRect().right > end + 0.5;
    }).map((one) => `${one.closest('th, td').dataset.name ?? ''} ${one.innerText}`);
    const search = document.getElementById('search');
    const { fontSize, fontFamily } = getComputedStyle(search);
    const pen = document.createElement('canvas').getContext('2d');
    pen.font = `${fontSize} ${fontFamily}`;
    if (pen.measureText(search.placeholder).width > room(search)) cut.push(search.placeholder);
    return cut;
}"""


@pytest.mark.parametrize("width", [1440, 1281, 1200, 1024, 390, 360])
def test_nothing_that_must_be_whole_is_cut_off(browser: Browser, server: Server, width: int) -> None:
    labels = {"host": "worker-01.example.com", "program": "import.sh", "user": "etl"}
    holder = server.session({"wide": 10}, labels)
    server.session({"wide": 10})
    for priority in (0, 100):
        server.session({"wide": 20}, labels, priority=priority)
    page = browser.new_page(viewport={"width": width, "height": 900})
    for where in ("semaphores/wide", "peers", f"peers/{holder}"):
        to(page, server, where)
        expect(page.locator(".rows td").nth(1)).to_be_visible()
        assert page.evaluate(CUT) == [], where
    page.close()
