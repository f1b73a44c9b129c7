"""Takes the screenshots of the documentation from a server on which something is going on."""

import random
import tempfile
import time
from pathlib import Path

from conftest import FLAGS
from playwright.sync_api import Browser, expect, sync_playwright
from server import Server

DOCS = Path(__file__).parents[2] / "docs" / "images"

# A sample a second, so that an hour of it takes a minute.
CONFIGURATION = """
name = "Warehouse"
[semaphores]
postgres-primary = 20
"warehouse/loader" = 1
"licence/matlab" = 4
"licence/ansys" = 2
"s3/uploads" = 4
"mail/outgoing" = 50
"billing/nightly" = 5
"crawl/example.org" = { max = 8, per = "5m" }
"crawl/example.com" = { max = 8, per = "20s" }
"reports/render" = 12
"tenant/*" = 3
[limits]
history_step = "1s"
"""

PROGRAMS = ["import.sh", "report.py", "sync", "index.py", "thumbnails.sh"]
USERS = ["etl", "web", "batch"]
# What comes and goes: a semaphore, how often somebody asks for it, and for how many seconds it is held.
LIFE = [
    ("postgres-primary", 0.9, 12),
    ("mail/outgoing", 1.0, 18),
    ("licence/matlab", 0.12, 14),
    ("reports/render", 0.5, 9),
    ("crawl/example.com", 0.2, 5),
    ("tenant/acme", 0.15, 8),
    ("tenant/globex", 0.1, 15),
]


def play(server: Server) -> None:
    """A minute in the life of a server."""
    dice = random.Random(7)
    leaving: list[tuple[float, str]] = []

    def come(semaphore: str, seconds: float, count: int = 1, **labels: str) -> str:
        who = {
            "host": f"worker-{dice.randint(1, 9):02}",
            "program": dice.choice(PROGRAMS),
            "user": dice.choice(USERS),
        } | labels
        peer = server.session({semaphore: count}, who)
        leaving.append((time.monotonic() + seconds, peer))
        return peer

    stays = 3600
    come("warehouse/loader", stays, host="etl-3", program="export.sh", user="ana")
    for number in range(6):
        body = {
            "expires_in": "2h",
            "peer_id": 7_203_114_508_824_100_000 + number * 104_729,
            "acquired": {"s3/uploads": 1},
        }
        server.ask("POST", "/restore", body)
    for number in range(3):
        come("billing/nightly", stays, host=f"billing-{number + 1}", program="invoices")
    server.ask("PATCH", "/v1/semaphores/billing%2Fnightly", {"max": 0})
    end = time.monotonic() + 66
    seconds = 0
    while time.monotonic() < end:
        seconds += 1
        for semaphore, chance, hold in LIFE:
            if dice.random() < chance:
                come(semaphore, hold * (0.5 + dice.random()), dice.choice([1, 1, 2]))
        if seconds in (8, 21, 35, 50):
            come("warehouse/loader", stays)
        if seconds in (30, 44):
            come("billing/nightly", stays)
        if seconds == 40:
            for _ in range(5):
                come("postgres-primary", stays, 4, program="backfill.py", user="etl")
        due = [one for one in leaving if one[0] < time.monotonic()]
        for one in due:
            server.release(one[1])
            leaving.remove(one)
        time.sleep(1)
    for _ in range(4):
        server.release(come("crawl/example.org", stays))


def shoot(browser: Browser, server: Server, name: str, where: str, scheme: str, phone: bool = False) -> None:
    """One picture."""
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 390, "height": 844} if phone else {"width": 1360, "height": 850},
        device_scale_factor=2 if phone else 1,
        has_touch=phone,
    )
    page = context.new_page()
    page.goto(f"{server.url}/#/{where}")
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("tr.semaphore, #holders, dialog").first).to_be_visible()
    if name == "release":
        page.get_by_role("button", name="Release export.sh ana@etl-3").click()
        expect(page.get_by_role("dialog")).to_be_visible()
    # Histories come a moment later.
    page.wait_for_timeout(2_000)
    page.screenshot(path=DOCS / f"{name}.png")
    context.close()


def main() -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        server = Server(Path(directory), CONFIGURATION)
        try:
            play(server)
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            shoot(browser, server, "dashboard-light", "", "light")
            shoot(browser, server, "dashboard-dark", "", "dark")
            shoot(browser, server, "semaphore", "semaphores/postgres-primary", "light")
            shoot(browser, server, "release", "semaphores/warehouse%2Floader", "dark")
            shoot(browser, server, "phone", "", "light", phone=True)
            browser.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
