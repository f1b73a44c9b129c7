"""The dashboard of several servers: its page about them, and how it bears a change of leader."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accessible import check
from conftest import CONFIGURATION, Watched, looking
from etcd import Etcd, free_port, section
from playwright.sync_api import Browser, Page, expect
from server import Server
from test_layout import CUT
from test_sign_in import secured, sign_in, token
from visit import row, semaphore_page, to


class Cluster:
    """Two servers with one set of semaphores, of which the first leads at the beginning."""

    def __init__(self, directory: Path, configuration: str) -> None:
        self.etcd = Etcd(directory / "etcd")
        self.etcd.start()
        self.servers: list[Server] = []
        for name in ("one", "two"):
            (directory / name).mkdir()
            port = free_port()
            server = Server(directory / name, configuration + section(self.etcd, port), port)
            self.servers.append(server)
            # The next one must not be quicker.
            while server.status("GET", "/readyz") != 200:
                time.sleep(0.01)

    @property
    def leader(self) -> Server:
        return self.servers[0]

    @property
    def standby(self) -> Server:
        return self.servers[1]

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
        self.etcd.stop()


Start = Callable[[str], Cluster]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Cluster] = []

    def begin(configuration: str) -> Cluster:
        started.append(Cluster(tmp_path, configuration))
        return started[-1]

    yield begin
    for cluster in started:
        cluster.stop()


@pytest.fixture
def cluster(start: Start) -> Cluster:
    return start(CONFIGURATION)


@pytest.fixture
def page(browser: Browser, cluster: Cluster, watched: Watched) -> Iterator[Page]:
    """A page that asks nobody but the server that follows."""
    with looking(browser, cluster.standby.url, watched) as page:
        yield page


def test_shows_who_leads_and_how_all_are(page: Page, cluster: Cluster) -> None:
    to(page, cluster.standby)
    page.get_by_role("navigation").get_by_role("link", name="Cluster").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cluster")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    facts = page.locator(".facts")
    expect(facts).to_contain_text(re.compile(rf"Leader\s*{cluster.leader.url}"))
    expect(facts).to_contain_text(re.compile(r"Epoch\s*\d+"))
    expect(facts).to_contain_text("2 of 2")
    version = cluster.leader.ask("GET", "/v1/cluster")["servers"][0]["version"]
    servers = page.get_by_role("table", name="Servers")
    leader = servers.get_by_role("row").filter(has_text=cluster.leader.url)
    expect(leader.get_by_role("cell")).to_have_text(
        [cluster.leader.url, "leads", re.compile(r"^\d+$"), "\N{EN DASH}", version]
    )
    standby = servers.get_by_role("row").filter(has_text=cluster.standby.url)
    expect(standby.get_by_role("cell")).to_have_text(
        [f"{cluster.standby.url} answers you", "follows", re.compile(r"^\d+$"), "under 1s", version]
    )
    member = page.get_by_role("table", name="Members of etcd").get_by_role("row").nth(1)
    expect(member.get_by_role("cell")).to_have_text(
        [cluster.etcd.url, "leads", re.compile(r"^[\d.]+ [KMG]iB$"), re.compile(r"^3\.\d+\.\d+$"), "none"]
    )
    expect(page.locator(".why")).to_have_count(0)


def test_shows_that_another_server_leads_and_one_does_not_answer(
    page: Page, cluster: Cluster, watched: Watched
) -> None:
    watched.may_fail = True
    to(page, cluster.standby, "cluster")
    facts = page.locator(".facts")
    expect(facts).to_contain_text(cluster.leader.url)
    cluster.leader.stop()
    expect(facts).to_contain_text(re.compile(rf"Leader\s*{cluster.standby.url}"))
    expect(facts).to_contain_text("1 of 2")
    gone = page.locator("#servers tr").filter(has_text=cluster.leader.url)
    expect(gone).to_contain_text("no answer")
    expect(gone).to_contain_text("Connection refused")
    cluster.leader.start()
    expect(gone).to_contain_text("follows")
    expect(page.locator("#state")).to_have_text("Live")


def test_says_what_is_wrong_with_etcd(
    browser: Browser, page: Page, cluster: Cluster, watched: Watched
) -> None:
    watched.may_fail = True
    there = Watched()
    there.may_fail = True
    with looking(browser, cluster.leader.url, there) as other:
        to(page, cluster.standby, "cluster")
        to(other, cluster.leader, "cluster")
        cluster.etcd.pause()
        expect(page.get_by_role("alert").filter(has_text="cannot follow the log now")).to_be_visible()
        expect(other.get_by_role("alert").filter(has_text="can promise nothing now")).to_be_visible()
        for one in (page, other):
            member = one.locator("#etcd tbody tr")
            expect(member).to_contain_text("no answer within")
            expect(one.get_by_text("Which other servers there are is kept in etcd")).to_be_visible()
        cluster.etcd.go_on()
        for one in (page, other):
            expect(one.locator("#servers tbody tr")).to_have_count(2)
            expect(one.locator(".why")).to_have_count(0)
            expect(one.locator("#state")).to_have_text("Live")


def test_is_live_at_a_standby_and_after_a_change_of_leader(
    page: Page, cluster: Cluster, watched: Watched
) -> None:
    watched.may_fail = True
    to(page, cluster.standby)
    held = row(page, "mutex").locator(".cell-held")
    expect(held).to_have_text("0 of 1")
    cluster.leader.session({"mutex": 1}, {"host": "w1"})
    expect(held).to_have_text("1 of 1")
    cluster.leader.stop()
    expect(page.locator("#state")).to_contain_text("Connection lost")
    expect(page.locator("#lost").get_by_role("link", name="The cluster")).to_be_visible()
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#lost")).to_be_hidden()
    # What was acknowledged stands.
    expect(held).to_have_text("1 of 1")
    waiting = row(page, "mutex").locator(".cell-waiting")
    cluster.standby.session({"mutex": 1}, {"host": "w2"})
    expect(waiting).to_have_text("1")
    # Back as one that follows, it shows the same.
    cluster.leader.start()
    page.goto(f"{cluster.standby.url}/#/semaphores/mutex")
    page.get_by_role("button", name="Release host:w1…").click()
    page.get_by_role("button", name="Release it").click()
    expect(page.locator("#holders")).to_contain_text("host w2")


def test_goes_on_when_the_leader_stands_still(page: Page, cluster: Cluster, watched: Watched) -> None:
    watched.may_fail = True
    semaphore_page(page, cluster.standby, "mutex")
    cluster.leader.signal(signal.SIGSTOP)
    try:
        expect(page.locator("#state")).to_contain_text("Connection lost")
        expect(page.locator("#state")).to_have_text("Live")
        cluster.standby.session({"mutex": 1}, {"host": "w1"})
        expect(page.locator("#holders")).to_contain_text("host w1")
    finally:
        cluster.leader.signal(signal.SIGCONT)


def test_the_page_of_a_leader_goes_on_when_it_is_deposed(
    browser: Browser, cluster: Cluster, watched: Watched
) -> None:
    watched.may_fail = True
    with looking(browser, cluster.leader.url, watched) as page:
        semaphore_page(page, cluster.leader, "mutex")
        cluster.leader.signal(signal.SIGSTOP)
        expect(page.locator("#state")).to_contain_text("Connection lost")
        while cluster.standby.status("GET", "/v1/semaphores") != 200:
            time.sleep(0.01)
        cluster.leader.signal(signal.SIGCONT)
        expect(page.locator("#state")).to_have_text("Live")
        cluster.standby.session({"mutex": 1}, {"host": "w1"})
        expect(page.locator("#holders")).to_contain_text("host w1")


def test_whoever_is_signed_in_stays_so(
    browser: Browser, start: Start, watched: Watched, tmp_path: Path
) -> None:
    watched.may_fail = True
    file = tmp_path / "tokens.toml"
    secret = token(file, "ana", "admin")
    cluster = start(secured(file))
    with looking(browser, cluster.standby.url, watched) as page:
        sign_in(page, cluster.standby, secret)
        expect(page.locator("#state")).to_have_text("Live")
        page.get_by_role("navigation").get_by_role("link", name="Cluster").click()
        expect(page.locator("#servers")).to_contain_text("leads")
        cluster.leader.stop()
        expect(page.locator("#state")).to_contain_text("Connection lost")
        expect(page.locator("#state")).to_have_text("Live")
        expect(page.locator("#who")).to_have_text("ana")
        expect(page.locator(".facts")).to_contain_text("1 of 2")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        expect(page.get_by_role("navigation").get_by_role("link", name="Cluster")).to_be_hidden()


def test_opens_though_nobody_leads(page: Page, cluster: Cluster, watched: Watched) -> None:
    watched.may_fail = True
    cluster.etcd.pause()
    cluster.leader.stop()
    page.goto(cluster.standby.url)
    expect(page.locator("#state")).to_contain_text("Connection lost")
    expect(page.get_by_text("The leader of the cluster gave no answer.")).to_be_visible()
    page.locator("#lost").get_by_role("link", name="The cluster").click()
    expect(page.get_by_role("alert").filter(has_text="cannot follow the log now")).to_be_visible()
    # What is shown is what this server knows now.
    expect(page.locator("#lost")).to_be_hidden()
    cluster.etcd.go_on()
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator(".facts")).to_contain_text(re.compile(rf"Leader\s*{cluster.standby.url}"))
    page.locator(".mark").click()
    expect(row(page, "mutex")).to_be_visible()


def test_a_server_that_is_alone_says_so(browser: Browser, server: Server, watched: Watched) -> None:
    with looking(browser, server.url, watched) as page:
        to(page, server, "cluster")
        expect(page.locator(".empty")).to_contain_text("the only one of its semaphores")
        expect(page.get_by_role("navigation").get_by_role("link", name="Events")).to_be_visible()
        expect(page.get_by_role("navigation").get_by_role("link", name="Cluster")).to_be_hidden()


def test_keeps_nobody_out_and_cuts_nothing_off(browser: Browser, cluster: Cluster) -> None:
    cluster.leader.stop()
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
        page = context.new_page()
        to(page, cluster.standby, "cluster")
        expect(page.locator("#servers")).to_contain_text("no answer")
        for width in (1440, 1024, 390, 360):
            page.set_viewport_size({"width": width, "height": 900})
            check(page, f"cluster, {scheme}, {width}")
            assert page.evaluate(CUT) == [], width
            assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), width
        context.close()
