"""The files for other machines, by the tools that read them: for the image, Compose, and Kubernetes."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate  # type: ignore[import-untyped]
import yaml
from packages import Packages
from page import ROOT
from place import FailedError, run

CHART = ROOT / "deploy/helm/throttle"
MANIFESTS = ROOT / "deploy/kubernetes"
COMPOSE = ROOT / "deploy/compose"
KUBERNETES = "1.30"
# What a chart says of itself that is not so of files.
OF_HELM = re.compile(
    r"^ *(?:helm\.sh/chart|app\.kubernetes\.io/managed-by):.*\n|^# Source: .*\n", re.MULTILINE
)
ALL_OF_IT: dict[str, Any] = {
    "semaphores": {"database": 20, "tenant/*": {"max": 3, "level": 2, "per": "1s"}, 'a "b"': 0},
    "config": "[limits]\npeers = 1000",
    "security": {"tokensSecret": "tokens", "public": ["/metrics"]},
    "tls": {"secret": "tls"},
    "hosts": ["locks.example"],
    "service": {"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}},
    "serviceMonitor": {"enabled": True, "labels": {"c": "d"}, "tokenSecret": {"name": "t", "key": "k"}},
    "podAnnotations": {"e": "f"},
    "podLabels": {"g": "h"},
    "nodeSelector": {"i": "j"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "persistence": {"size": "2Gi", "storageClassName": "fast"},
}
CLUSTER: dict[str, Any] = {"enabled": True, "endpoints": ["http://127.0.0.1:2379"]}
SECURE_CLUSTER: dict[str, Any] = {
    **CLUSTER, "endpoints": ["https://etcd:2379"], "tlsSecret": "etcd", "clientCertificate": True,
    "username": "throttle", "userSecret": "etcd-user",
}  # fmt: skip
WRONG: dict[str, Mapping[str, Any]] = {
    "a cluster without etcd": {"cluster": {"enabled": True}},
    "a misspelt setting": {"persistance": {"size": "1Gi"}},
    "a semaphore that is no number": {"semaphores": {"database": "twenty"}},
    "a name that no secret has": {"tls": {"secret": "My Secret"}},
}


def dockerfile(_packages: Packages, _directory: Path) -> None:
    """Hadolint has nothing to say."""
    run(Path(sys.prefix) / "bin/hadolint", ROOT / "Dockerfile")


def compose(_packages: Packages, directory: Path) -> None:
    """What Compose mounts is there, only this machine is served, and Prometheus takes its file."""
    services = yaml.safe_load((COMPOSE / "compose.yml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        for port in service["ports"]:
            if not port.startswith("127.0.0.1:"):
                raise FailedError(f"{name} is open to everybody: {port}")
        files = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith(".")]
        missing = [file for file in files if not (COMPOSE / file).is_file()]
        if missing:
            raise FailedError(f"{name} mounts what is not there: {missing}")
    directory.mkdir()
    # As they lie in the container.
    for file in (COMPOSE / "prometheus.yml", ROOT / "deploy/prometheus/throttle.rules.yml"):
        (directory / file.name).write_bytes(file.read_bytes())
    run("promtool", "check", "config", directory / "prometheus.yml")


def chart(packages: Packages, directory: Path) -> None:
    """The chart makes objects that Kubernetes knows, and files that Throttle reads, also of a cluster."""
    found = helm_python.lint(CHART, strict=True)
    # An icon is recommended, which is no fault (1).
    if found["errors"] or any(message["severity"] > 1 for message in found["messages"]):
        raise FailedError(f"helm lint: {found}")
    directory.mkdir()
    for number, values in enumerate(
        ({}, ALL_OF_IT, {"cluster": CLUSTER}, ALL_OF_IT | {"cluster": SECURE_CLUSTER})
    ):
        objects = [each for text in rendered(values, "locks").values() for each in documents(text)]
        for each in objects:
            valid(each)
        files = next(each for each in objects if each["kind"] == "ConfigMap")["data"]
        servers = next(each for each in objects if each["kind"] == "StatefulSet")
        name, count = servers["metadata"]["name"], servers["spec"]["replicas"]
        if sorted(files) != [f"{name}-{pod}.toml" for pod in range(count)]:
            raise FailedError(f"not each of {count} servers has a file: {sorted(files)}")
        for file, text in files.items():
            understood(packages, directory / f"{number}-{file}", text)
    for what, wrong in WRONG.items():
        try:
            rendered(wrong, "locks")
        except helm_python.HelmError:
            continue
        raise FailedError(f"the chart takes {what}")


def manifests(_packages: Packages, _directory: Path) -> None:
    """The plain files are what the chart makes of their values, and Kubernetes knows them."""
    for name in ("single", "cluster"):
        values = yaml.safe_load((MANIFESTS / f"values-{name}.yaml").read_text(encoding="utf-8"))
        made = sorted(rendered(values, "throttle").items())
        texts = [OF_HELM.sub("", text).strip() for _, text in made]
        head = f"# Made of deploy/helm/throttle with values-{name}.yaml: see docs/kubernetes.md.\n"
        expected = head + "".join(f"---\n{text}\n" for text in texts if text)
        expected = re.sub(r" +$", "", expected, flags=re.MULTILINE)
        file = MANIFESTS / f"{name}.yaml"
        if os.environ.get("UPDATE_GOLDEN"):
            file.write_text(expected, encoding="utf-8")
        if file.read_text(encoding="utf-8") != expected:
            raise FailedError(f"{file.name} is not what the chart makes; UPDATE_GOLDEN=1 takes it over")
    for file in MANIFESTS.glob("[!v]*.yaml"):
        for each in documents(file.read_text(encoding="utf-8")):
            valid(each)


def rendered(values: Mapping[str, Any], release: str) -> dict[str, str]:
    """The objects that Helm makes of the chart, by the files that they come from."""
    with helm_python.Chart.load(CHART) as loaded:
        loaded.validate_schema(dict(values))
        made = loaded.render(values=dict(values), name=release, namespace="throttle")
        return {path: text for path, text in made.items() if path.endswith(".yaml")}


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a file."""
    return [each for each in yaml.safe_load_all(text) if isinstance(each, dict)]


def valid(each: dict[str, Any]) -> None:
    """Checks an object against the schemas of Kubernetes; they have none of the Prometheus operator."""
    if each["apiVersion"].startswith("monitoring.coreos.com/"):
        return
    try:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise FailedError(f"{each['kind']} {each['metadata']['name']}: {error.message}") from error


def understood(packages: Packages, file: Path, text: str) -> None:
    """Has the server read a configuration file, with secrets of ours where its pod has them."""
    throttle = packages.image / "image/usr/bin/throttle"
    with tempfile.TemporaryDirectory() as directory:
        secrets = Path(directory)
        for folder in ("tokens", "tls", "etcd", "etcd-user"):
            (secrets / folder).mkdir()
        run(throttle, "token", "new", "someone", "--file", secrets / "tokens/tokens.toml")
        for folder in ("tls", "etcd"):
            pair = ("-keyout", secrets / folder / "tls.key", "-out", secrets / folder / "tls.crt")
            run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=locks", *pair)
            (secrets / folder / "ca.crt").write_bytes((secrets / folder / "tls.crt").read_bytes())
        (secrets / "etcd-user/password").write_text("secret")
        file.write_text(text.replace("/run/throttle", directory), encoding="utf-8")
        run(throttle, "check", "-c", file)


CHECKS: dict[str, Callable[[Packages, Path], None]] = {
    check.__name__: check for check in (dockerfile, compose, chart, manifests)
}
