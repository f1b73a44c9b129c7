"""Checks what is in `deploy` against promtool and a Prometheus that scrapes real servers.

One of them has a data directory, two are a cluster with a real etcd. What is shared with other tests,
`server.py` and `etcd.py`, has to be on the path.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from etcd import Etcd, free_port, section
from server import PATIENCE, Server, serving, until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "throttle.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "throttle.json"

# Nobody listens for messages and traces; what counts them is there all the same.
CONFIGURATION = """\
[semaphores]
stuck = 1
moves = 1
over = 1

[durability]
data_dir = "{data}"
[recovery]
restore = "allow"

[logging.stderr]
[logging.gelf]
name = "monitoring"
host = "127.0.0.1"
port = 9
[telemetry.otlp]
endpoint = "http://127.0.0.1:9"
"""

# What promtool says against names that old dashboards and alerts know, and that therefore stay.
OLD_NAMES = {
    'throttle_count non-histogram and non-summary metrics should not have "_count" suffix',
    'throttle_full_count non-histogram and non-summary metrics should not have "_count" suffix',
    "throttle_longest_pending_sec metric names should not contain abbreviated units",
    'throttle_num_404 counter metrics should have "_total" suffix',
}

# Grafana fills these in.
VARIABLES = {
    "$__rate_interval": "1m",
    "$job": ".*",
    "$instance": ".*",
    "$semaphore": ".*",
}


def promtool(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """A run of promtool among the files for Prometheus."""
    command = ["promtool", *arguments]
    return subprocess.run(command, cwd=RULES.parent, input=stdin, capture_output=True, text=True, check=False)


def check_files() -> None:
    """The files are right, and each alert does what its test says."""
    for arguments in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", RULES.name),
        ("test", "rules", "throttle.test.yml"),
    ):
        done = promtool(*arguments)
        assert done.returncode == 0, f"promtool {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    tests = (RULES.parent / "throttle.test.yml").read_text()
    for alert in alerts:
        tested = re.findall(rf"alertname: {alert}\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels", tests)
        assert tested, f"no test lets {alert} fire"
    print(f"{len(alerts)} alerts are right", flush=True)


def check_page(server: Server) -> None:
    """The names of all metrics are as they should be, but for the old ones."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=PATIENCE) as response:
        page: str = response.read().decode()
    found = set(filter(None, promtool("check", "metrics", stdin=page).stderr.splitlines()))
    assert found == OLD_NAMES, f"promtool check metrics: {sorted(found ^ OLD_NAMES)}"
    print(f"{page.count('# TYPE ')} metrics are named well, or are old", flush=True)


def ask(server: Server, method: str, path: str, body: object = None) -> int:
    """The status of an answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            status: int = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    return status


def new_peer(server: Server, semaphore: str, count: int = 1) -> tuple[int, str]:
    """A peer that asked for a count: the status of the answer, and its id."""
    body = json.dumps({"locks": {semaphore: count}, "expires_in": "1h"}).encode()
    request = urllib.request.Request(f"{server.url}/v1/locks", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.status, json.load(response)["id"]


class Prometheus:
    """A Prometheus that scrapes servers."""

    def __init__(self, url: str) -> None:
        """It listens at this address."""
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        """What it answers. An expression that it cannot evaluate ends the test."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=PATIENCE) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[Any]:
        """The series that an expression has now."""
        result: list[Any] = self.get("query", query=expression)["result"]
        return result

    def rules(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All alerts, each with the file that it is in."""
        for group in self.get("rules")["groups"]:
            for rule in group["rules"]:
                yield Path(group["file"]).name, rule

    def alerts(self, file: str, name: str, label: str = "semaphore") -> dict[str, str]:
        """The state of an alert, by a label."""
        found = [rule for where, rule in self.rules() if (where, rule["name"]) == (file, name)]
        return {alert["labels"][label]: alert["state"] for alert in found[0]["alerts"]}

    def is_up(self) -> bool:
        """Whether it reaches all servers."""
        return {target["health"] for target in self.get("targets")["activeTargets"]} == {"up"}


@contextmanager
def prometheus(servers: dict[str, list[Server]], folder: Path) -> Iterator[Prometheus]:
    """One that scrapes the servers of each job often. In `quick.yml` it has the alerts without patience."""
    rules = RULES.read_text()
    (folder / "slow.yml").write_text(rules)
    quick, times = re.subn(r"\bfor: \w+", "for: 0s", rules)
    assert times, "some alerts have patience"
    (folder / "quick.yml").write_text(quick)
    configuration = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
        "rule_files": ["slow.yml", "quick.yml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [host(server) for server in some]}]}
            for job, some in servers.items()
        ],
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    log = folder / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        found: list[str] = []

        def is_ready() -> bool:
            assert process.poll() is None, f"prometheus ended with {process.returncode}"
            found[:] = re.findall(r'msg="Listening on" address=(\S+)', log.read_text())
            return bool(found) and "Server is ready to receive web requests" in log.read_text()

        until(is_ready, "prometheus is ready")
        yield Prometheus(f"http://{found[0]}")
    except BaseException:
        print("--- output of prometheus", log.read_text(), sep="\n", file=sys.stderr, flush=True)
        raise
    finally:
        process.terminate()
        process.wait()


def host(server: Server) -> str:
    """What Prometheus calls a server."""
    return server.url.removeprefix("http://")


def is_ready(server: Server) -> bool:
    """Whether it answers requests."""
    return ask(server, "GET", "/readyz") == 200


@contextmanager
def clustered(binary: Path, folder: Path) -> Iterator[tuple[Etcd, list[Server]]]:
    """Two servers of one cluster, of which the first leads, and their etcd."""
    etcd = Etcd(folder / "etcd")
    with ExitStack() as stack:
        stack.callback(etcd.stop)
        etcd.start()
        servers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            port = free_port()
            configuration = f"[semaphores]\nshared = 1\n{section([etcd], port)}"
            server = Server(binary, port, folder / name, configuration)
            stack.callback(server.kill)
            server.start()
            until(partial(is_ready, server), "it leads, or knows who does")
            servers.append(server)
        try:
            yield etcd, servers
        except BaseException:
            for server in servers:
                print(f"--- output of {server.url}", server.output(), sep="\n", file=sys.stderr, flush=True)
            raise


def names(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return set(re.findall(r"\b(?:throttle|process)_\w+", expression))


def panels(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The expressions of a dashboard, each with the title of its panel, ready for Prometheus."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression: str = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def check_dashboard(dashboard: dict[str, Any]) -> None:
    """Any Grafana can take it in: no source of data is named, but by the variable for it."""
    text = json.dumps(dashboard)
    sources = set(re.findall(r'"uid": "([^"]*)"', text)) - {dashboard["uid"]}
    assert sources == {"${datasource}"}, f"sources of data: {sources}"
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers), "two panels have the same id"
    untold = [
        panel["title"] for panel in dashboard["panels"] if panel["type"] != "row" and not panel["description"]
    ]
    assert not untold, f"panels without a description: {untold}"


def check_expressions(watcher: Prometheus) -> None:
    """All expressions can be evaluated and name what there is, and each panel shows something."""
    dashboard = json.loads(DASHBOARD.read_text())
    check_dashboard(dashboard)
    shown = set(watcher.get("label/__name__/values"))

    def check(where: str, expression: str) -> list[Any]:
        unknown = names(expression) - shown
        assert not unknown, f"{where} names what no server shows: {sorted(unknown)}"
        return watcher.query(expression)

    count = 0
    for _, rule in watcher.rules():
        assert rule["health"] == "ok", rule
        check(rule["name"], rule["query"])
        count += 1
    for title, expression in panels(dashboard):
        assert "$" not in expression, f"{title} has a variable that is not known: {expression}"
        series = check(title, expression)
        assert series, f"{title} shows nothing: {expression}"
        count += 1
    others = [variable.get("definition", "") for variable in dashboard["templating"]["list"]]
    others += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    for expression in others:
        assert names(expression) <= shown, expression
    print(f"{count} expressions can be evaluated", flush=True)


def check_alerts_of_a_cluster(watcher: Prometheus, etcd: Etcd, servers: list[Server]) -> None:
    """An etcd that stands still raises an alert of each server; once the leader dies, nobody leads."""
    leader, standby = servers

    def state(alert: str, label: str, file: str = "quick.yml") -> dict[str, str]:
        return watcher.alerts(file, alert, label)

    held_up, none, behind = "ThrottleClusterHeldUp", "ThrottleClusterNoLeader", "ThrottleClusterBehind"
    assert [state(alert, "job") for alert in (held_up, none, behind)] == [{}, {}, {}]
    etcd.pause()
    until(lambda: state(held_up, "instance") == {host(leader): "firing"}, "the leader is held up")
    until(lambda: state(behind, "instance") == {host(standby): "firing"}, "the other one is behind")
    assert state(none, "job") == {}
    leader.kill()
    until(lambda: state(none, "job") == {"cluster": "firing"}, "nobody leads")
    until(lambda: state(none, "job", "slow.yml") == {"cluster": "pending"}, "… and that alert has patience")
    until(lambda: state(held_up, "instance") == {}, "a server that is gone is not held up")
    etcd.go_on()
    until(lambda: state(none, "job") == {} and state(behind, "instance") == {}, "the other one takes over")
    print("an etcd that stands still and a leader that dies raise their alerts, which end", flush=True)


def main() -> int:
    """Checks all of it."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--server", type=Path, required=True, help="the throttle binary")
    binary = arguments.parse_args().server.resolve(strict=True)
    check_files()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(binary, CONFIGURATION.format(data=f"{folder}/throttle")) as server,
        clustered(binary, Path(folder)) as (etcd, cluster),
    ):
        # Each dialect, an answer that refuses, a page that is not there, and more acquired than max.
        assert ask(server, "GET", "/nope") == 404
        assert ask(server, "POST", "/new_peer", {"expires_in": "1h"}) == 200
        assert ask(server, "POST", "/acquire", {"pending": {"moves": 1}, "expires_in": "0s"}) == 201
        assert ask(server, "POST", "/v1/locks", {"locks": {"moves": 2}, "expires_in": "1h"}) == 409
        for peer in (7, 8):
            restored = {"expires_in": "1h", "peer_id": peer, "acquired": {"over": 1}}
            assert ask(server, "POST", "/restore", restored) == 200
        check_page(server)

        status, holder = new_peer(server, "stuck")
        assert status == 201
        assert new_peer(server, "stuck")[0] == 202
        assert new_peer(cluster[0], "shared")[0] == 201
        with prometheus({"throttle": [server], "cluster": cluster}, Path(folder)) as watcher:
            until(watcher.is_up, "the servers are scraped")

            def state(file: str, alert: str) -> dict[str, str]:
                return watcher.alerts(file, alert)

            stuck = "ThrottleQueueStuck"
            until(lambda: state("quick.yml", stuck) == {"stuck": "firing"}, "the stuck queue raises an alert")
            until(lambda: state("slow.yml", stuck) == {"stuck": "pending"}, "… which has patience")
            over = "ThrottleOvercommitted"
            until(lambda: state("quick.yml", over) == {"over": "firing"}, "so does what is overcommitted")
            print("a stuck queue and an overcommitted semaphore raise their alerts", flush=True)
            check_expressions(watcher)
            assert ask(server, "DELETE", f"/v1/peers/{holder}") == 204
            until(lambda: state("quick.yml", stuck) == {}, "a grant ends the alert")
            assert ask(server, "DELETE", "/v1/peers/7") == 204
            until(lambda: state("slow.yml", over) == {}, "a release ends the other")
            print("they end with a grant and a release", flush=True)
            check_alerts_of_a_cluster(watcher, etcd, cluster)
    return 0


if __name__ == "__main__":
    sys.exit(main())
