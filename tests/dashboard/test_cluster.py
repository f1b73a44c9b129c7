"""The dashboard of several servers: its page about them, and how it bears a change of leader."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from accessible import check
from conftest import CONFIGURATION, Watched, looking
from etcd import Etcd, free_port, section, together
from playwright.sync_api import Browser, Page, expect
from server import Server
from test_layout import CUT
from test_sign_in import secured, sign_in, token
from visit import row, semaphore_page, to


class Cluster:
    """Servers with one set of semaphores, of which the first leads at the beginning."""

    def __init__(self, directory: Path, configuration: str, servers: int = 2, members: int = 1) -> None:
        self.members = together(directory, members)
        self.servers: list[Server] = []
        for name in ("one", "two", "three")[:servers]:
            (directory / name).mkdir()
            port = free_port()
            server = Server(directory / name, configuration + section(self.members, port), port)
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

    @property
    def etcd(self) -> Etcd:
        return self.members[0]

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
        for member in self.members:
            member.stop()


class Start(Protocol):
    """Starts a cluster."""

    def __call__(self, configuration: str, servers: int = 2, members: int = 1) -> Cluster: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Cluster] = []

    def begin(configuration: str, servers: int = 2, members: int = 1) -> Cluster:
        started.append(Cluster(tmp_path, configuration, servers, members))
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
    expect(facts).to_contain_text(re.compile(r"Leads for\s*(\d+m )?\d+s"))
    expect(facts).to_contain_text(re.compile(r"Confirmed by etcd\s*yes"))
    expect(facts).to_contain_text("2 of 2")
    expect(page.locator(".well")).to_have_text(
        f"All is well: {cluster.leader.url} leads, 1 other server could take over, and etcd answers."
    )
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
    expect(page.get_by_text("etcd tells its quota from release 3.6 on")).to_be_visible()


def found(page: Page, what: str) -> Any:
    """What is said to be wrong, at the top."""
    return page.get_by_role("alert").locator(".why").filter(has_text=what)


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
    expect(found(page, f"The server {cluster.leader.url} gives no answer. Start it again")).to_be_visible()
    expect(found(page, "No other server could take over. If this one fails")).to_be_visible()
    cluster.leader.start()
    expect(gone).to_contain_text("follows")
    expect(page.locator(".why")).to_have_count(0)
    expect(page.locator(".well")).to_contain_text(f"{cluster.standby.url} leads")
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
        expect(found(page, "cannot follow the log now")).to_be_visible()
        expect(found(other, "can promise nothing now")).to_be_visible()
        expect(other.locator(".facts")).to_contain_text(re.compile(r"Confirmed by etcd\s*no"))
        for one in (page, other):
            expect(found(one, "None of the members of etcd answers this server.")).to_contain_text(
                "Start etcd"
            )
            expect(one.locator(".why")).to_have_count(1)
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
    page.get_by_role("button", name="Release @w1…").click()
    page.get_by_role("button", name="Release it").click()
    expect(page.locator("#holders")).to_contain_text("@w2")


def another_leads(asked: Server, than: str) -> None:
    """Waits until a server knows that another one leads."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        leader = asked.ask("GET", "/v1/cluster")["leader"]
        if leader and leader["url"] != than:
            return
        time.sleep(0.1)
    raise AssertionError(f"{than} leads still")


def test_goes_on_when_the_leader_stands_still(page: Page, cluster: Cluster, watched: Watched) -> None:
    watched.may_fail = True
    semaphore_page(page, cluster.standby, "mutex")
    cluster.leader.signal(signal.SIGSTOP)
    try:
        # Whether the page notices the silence before another server leads is a matter of luck.
        another_leads(cluster.standby, cluster.leader.url)
        cluster.standby.session({"mutex": 1}, {"host": "w1"})
        expect(page.locator("#holders")).to_contain_text("@w1")
        expect(page.locator("#state")).to_have_text("Live")
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
        expect(page.locator("#holders")).to_contain_text("@w1")


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
    expect(found(page, "cannot follow the log now")).to_be_visible()
    # What is shown is what this server knows now.
    expect(page.locator("#lost")).to_be_hidden()
    cluster.etcd.go_on()
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator(".facts")).to_contain_text(re.compile(rf"Leader\s*{cluster.standby.url}"))
    page.locator(".mark").click()
    expect(row(page, "mutex")).to_be_visible()


def test_tells_of_a_member_that_fails_and_of_one_too_many(
    browser: Browser, start: Start, watched: Watched
) -> None:
    watched.may_fail = True
    cluster = start(CONFIGURATION, servers=3, members=3)
    two, three = cluster.members[1:]
    with looking(browser, cluster.servers[2].url, watched) as page:
        to(page, cluster.servers[2], "cluster")
        expect(page.locator(".well")).to_contain_text(
            "2 other servers could take over, and all members of etcd answer"
        )
        expect(page.locator("#etcd .badge.leads")).to_have_count(1)
        cluster.leader.stop()
        expect(
            found(page, f"The server {cluster.leader.url} gives no answer. Start it again")
        ).to_be_visible()
        expect(page.locator(".facts .name")).not_to_have_text(cluster.leader.url)
        expect(page.locator(".why.bad")).to_have_count(0)
        expect(page.locator("#state")).to_have_text("Live")
        cluster.leader.start()
        expect(page.locator(".well")).to_be_visible()
        two.stop()
        expect(found(page, f"The member {two.url} of etcd gives no answer.")).to_contain_text(
            "Everything goes on. If one more fails, requests are refused. Start it again, or replace it."
        )
        expect(page.locator(".why.bad")).to_have_count(0)
        expect(page.locator("#etcd tr").filter(has_text=two.url)).to_contain_text("no answer")
        three.stop()
        lost = found(page, "Of the 3 members of etcd only 1 answers: that is no majority.")
        expect(lost).to_contain_text(f"Start {two.url} and {three.url}.")
        # All else comes of that.
        expect(page.locator(".why")).to_have_count(1)
        for member in (two, three):
            member.begin()
        for member in (two, three):
            member.wait()
        expect(page.locator(".well")).to_be_visible()
        expect(page.locator("#servers tbody tr")).to_have_count(3)


def test_tells_of_a_leader_that_etcd_does_not_confirm(page: Page, cluster: Cluster) -> None:
    status = cluster.standby.ask("GET", "/v1/cluster")

    def shown(**changes: Any) -> None:
        page.unroute_all()
        page.route("**/v1/cluster", lambda route: route.fulfill(json={**status, **changes}))
        page.reload()
        expect(page.locator("#state")).to_have_text("Live")

    to(page, cluster.standby, "cluster")
    leader = {**status["leader"], "unconfirmed": "7s 12ms"}
    shown(leader=leader)
    expect(found(page, f"etcd does not confirm that {cluster.leader.url} leads.")).to_contain_text(
        "requests are answered 503, and no lease ends meanwhile"
    )
    expect(page.locator(".facts")).to_contain_text(re.compile(r"Confirmed by etcd\s*no"))
    row_of = page.locator("#servers tr").filter(has_text=cluster.leader.url)
    expect(row_of.locator(".role")).to_have_text("leads held up")
    # One that was cut off and does not know that another server leads.
    shown(leader={**leader, "url": cluster.standby.url, "unconfirmed": None, "since": None})
    expect(row_of.locator(".role")).to_have_text("deposed")
    expect(
        found(page, f"The server {cluster.leader.url} does not know yet that it leads no longer.")
    ).to_be_visible()
    shown(leader=None)
    expect(found(page, "No server leads just now.")).to_contain_text(
        "Another server takes over within seconds"
    )
    expect(page.locator(".facts")).to_contain_text(re.compile(r"Leader\s*nobody"))
    # A member that tells its quota, and one that is full.
    member = {**status["etcd"][0], "db_bytes": 900 << 20, "quota_bytes": 1 << 30}
    shown(etcd=[member])
    expect(page.locator("#etcd .size").nth(1)).to_have_text("900.0 MiB of 1.0 GiB")
    expect(found(page, "The database of etcd fills 87 % of its quota.")).to_contain_text(
        "--quota-backend-bytes"
    )
    shown(etcd=[{**member, "errors": ["memberID:1 alarm:NOSPACE "]}])
    expect(found(page, "etcd is full (NOSPACE).")).to_contain_text("etcdctl alarm disarm")
    # One that is behind, one that cannot read the log, and one of another release.
    standby = next(one for one in status["servers"] if one["url"] == cluster.standby.url)
    first = next(one for one in status["servers"] if one["url"] == cluster.leader.url)
    shown(servers=[first, {**standby, "lag": "1m 2s", "version": "0.5.9"}])
    expect(found(page, "This server is far behind with the log.")).to_be_visible()
    expect(found(page, "The servers run 2 versions.")).to_be_visible()
    expect(page.locator("#servers .late")).to_have_text("1m 02s")
    shown(servers=[first, {**standby, "trouble": "the log is of a later release"}])
    expect(found(page, "This server cannot follow the log now.")).to_contain_text(
        "the log is of a later release."
    )


def test_shows_what_the_right_to_look_allows(
    browser: Browser, start: Start, watched: Watched, tmp_path: Path
) -> None:
    watched.may_fail = True
    file = tmp_path / "tokens.toml"
    reader, worker = token(file, "ana", "read:s3"), token(file, "etl", "acquire")
    cluster = start(secured(file))
    link = "#to-cluster"
    for server in cluster.servers:
        with looking(browser, server.url, Watched()) as page:
            sign_in(page, server, worker)
            expect(page.locator("#who")).to_have_text("etl")
            page.goto(f"{server.url}/#/cluster")
            expect(page.get_by_role("alert").filter(has_text='"etl" lacks the right "read"')).to_be_visible()
            expect(page.locator(link)).to_be_hidden()
        with looking(browser, server.url, Watched()) as page:
            sign_in(page, server, reader)
            page.locator(link).click()
            expect(page.locator(".well")).to_be_visible()
    with looking(browser, cluster.standby.url, watched) as page:
        sign_in(page, cluster.standby, reader)
        page.locator(link).click()
        expect(page.locator(".well")).to_be_visible()
        # Also while nobody leads, and the page is opened anew.
        cluster.etcd.pause()
        cluster.leader.stop()
        page.reload()
        expect(found(page, "None of the members of etcd answers this server.")).to_be_visible()
        # Whoever is not known is asked who he is.
        page.context.clear_cookies()
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        expect(page.locator(link)).to_be_hidden()


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
