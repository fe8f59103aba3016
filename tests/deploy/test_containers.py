"""The container, compose and Kubernetes files: no image can be pulled where tests run, so what they say is
held to what the product does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from spooler.config import Config, load_config
from spooler.worker import LAST_SETTLE
from tests.deploy.reading import DEPLOY, ROOT, document, octets, understood
from tests.ops.served import address_of
from tests.servers.fixtures import require
from tests.servers.own_sink import own_sink
from tests.supervise.command import running

if TYPE_CHECKING:
    from pathlib import Path

CONTAINER = DEPLOY / "container"
KUBERNETES = DEPLOY / "kubernetes"
PROBE = CONTAINER / "spooler-probe"
USER = 10001
NO_SECRET = "secret of a test"


def instructions() -> list[tuple[str, str]]:
    """Read the container file, comments left out and lines joined."""
    text = re.sub(r"^#.*\n", "", (CONTAINER / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def said(word: str) -> str:
    """Return what the last such instruction says."""
    return [rest for name, rest in instructions() if name == word][-1]


def port_of(config: Config) -> int:
    listen = config.http.parsed
    assert listen is not None
    assert listen.host == "0.0.0.0"
    return listen.port


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_the_image_runs_a_worker_as_nobody_of_note() -> None:
    """Its command is one, its port that of the configurations, its user has a number and no rights."""
    words = json.loads(said("ENTRYPOINT")) + json.loads(said("CMD"))
    assert words[0] == "spooler"
    assert str(understood(words[1:])["config"]) == "/etc/spooler/spooler.toml"
    assert said("USER") == f"{USER}:{USER}"
    assert f"--uid {USER}" in said("RUN")
    assert int(said("EXPOSE")) == port_of(load_config(CONTAINER / "spooler.toml"))
    assert said("VOLUME") in load_config(CONTAINER / "spooler.toml").worker.journal


def test_the_image_is_built_from_what_there_is() -> None:
    """All that the build needs is copied, nothing of it is kept out, and all of it exists."""
    copied = [
        name
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
        if not name.startswith("--")
    ]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        project["project"]["readme"],
        *project["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
        *wheel["shared-data"],
        "pyproject.toml",
    }
    for name in needed:
        assert any(PurePosixPath(name).is_relative_to(one) for one in copied), name
    kept_out = (ROOT / ".dockerignore").read_text().split()
    assert not {part for name in copied for part in [name, name.split("/")[0]]} & set(kept_out)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services of the compose file."""
    found: dict[str, Any] = document(CONTAINER / "compose.yml")
    return found


def test_compose_agrees_with_the_product(compose: dict[str, Any]) -> None:
    """Commands, ports, files, names of hosts and times to stop."""
    services = compose["services"]
    config = load_config(CONTAINER / "spooler.toml")
    worker = services["worker"]
    for name in ("init", "worker"):
        understood(services[name]["command"])
        assert services[name]["environment"]["SPOOLER_CONFIG"] == "/etc/spooler/spooler.toml"
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    assert worker["depends_on"]["init"]["condition"] == "service_completed_successfully"
    assert seconds(worker["stop_grace_period"]) > config.worker.grace + LAST_SETTLE
    assert worker["ports"] == [f"127.0.0.1:{port_of(config)}:{port_of(config)}"]
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one.get("ports", ()))
    assert config.http.token_file == "/run/secrets/token" == worker["environment"]["SPOOLER_TOKEN_FILE"]
    assert worker["secrets"] == ["token"] == list(compose["secrets"])
    assert "@db/" in (config.spool or "")
    (destination,) = config.routes["default"].destinations
    assert destination == "inet:dovecot:24"
    assert {"db", "dovecot"} <= set(services)
    assert "state:/var/lib/spooler" in worker["volumes"]
    assert config.worker.journal.startswith("/var/lib/spooler/")
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (CONTAINER / source).is_file(), source
            else:
                assert source in compose["volumes"]
    build = services["init"]["build"]
    assert (CONTAINER / build["context"] / build["dockerfile"]).resolve() == CONTAINER / "Containerfile"


@pytest.mark.prometheus
def test_prometheus_of_compose_asks_the_worker(
    compose: dict[str, Any], promtool: str, tmp_path: Path
) -> None:
    """Its configuration is one, leads to the worker, and has the rules."""
    path = CONTAINER / "prometheus.yml"
    (scrape,) = document(path)["scrape_configs"]
    port = port_of(load_config(CONTAINER / "spooler.toml"))
    assert scrape["static_configs"] == [{"targets": [f"worker:{port}"]}]
    assert scrape["job_name"].startswith("spooler")
    token = scrape["authorization"]["credentials_file"]
    assert token == "/run/secrets/token"
    (tmp_path / "token").write_text(NO_SECRET)
    (tmp_path / "prometheus.yml").write_text(path.read_text().replace(token, str(tmp_path / "token")))
    shutil.copy(DEPLOY / "prometheus/rules.yml", tmp_path)
    argv = [promtool, "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    mounted = {volume.split(":")[1] for volume in compose["services"]["prometheus"]["volumes"]}
    assert {"/etc/prometheus/prometheus.yml", "/etc/prometheus/rules.yml"} <= mounted


def test_grafana_of_compose_has_the_dashboard(compose: dict[str, Any]) -> None:
    """It is where the provider looks, and its source is the Prometheus beside it."""
    (provider,) = document(DEPLOY / "grafana/dashboards.yml")["providers"]
    targets = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/spooler.json" in targets
    (source,) = document(DEPLOY / "grafana/datasources.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_dovecot_of_compose_listens_where_mail_goes() -> None:
    """Dovecot reads its configuration."""
    argv = [require("doveconf", "dovecot-core"), "-n", "-c", str(CONTAINER / "dovecot.conf")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"protocols = lmtp", "port = 24"} <= set(map(str.strip, done.stdout.splitlines()))


@pytest.fixture(scope="module")
def stateful() -> dict[str, Any]:
    """The pods' description."""
    found: dict[str, Any] = document(KUBERNETES / "statefulset.yml")
    return found


def test_pods_end_in_good_time_and_keep_their_journals(stateful: dict[str, Any]) -> None:
    """Longer than the grace and the last settling; the journal is on a volume that outlives the pod."""
    pod = stateful["spec"]["template"]["spec"]
    config = load_config(KUBERNETES / "spooler.toml")
    assert pod["terminationGracePeriodSeconds"] > config.worker.grace + LAST_SETTLE
    (claim,) = stateful["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert config.worker.journal.startswith(mounts[claim["metadata"]["name"]] + "/")
    (token,) = (one for one in pod["volumes"] if "secret" in one)
    assert config.http.token_file == f"{mounts['secret']}/{token['secret']['items'][0]['path']}"
    named = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"]}
    assert set(mounts) == named


def test_pods_are_probed_where_the_worker_answers(stateful: dict[str, Any]) -> None:
    """/livez needs no token, so the node asks; /readyz does, so the container asks itself."""
    (worker,) = stateful["spec"]["template"]["spec"]["containers"]
    port = port_of(load_config(KUBERNETES / "spooler.toml"))
    assert worker["ports"] == [{"name": "http", "containerPort": port}]
    assert worker["livenessProbe"]["httpGet"] == worker["startupProbe"]["httpGet"]
    assert worker["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert worker["readinessProbe"]["exec"]["command"] == ["spooler-probe", "readyz"]
    service = document(KUBERNETES / "service.yml")["spec"]
    assert service["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]


def test_pods_are_confined_and_their_commands_understood(stateful: dict[str, Any]) -> None:
    """No root, no way to become it, nothing to write but their volumes; bounded memory."""
    pod = stateful["spec"]["template"]["spec"]
    assert not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert {pod["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {USER}
    for container in [*pod["initContainers"], *pod["containers"]]:
        params = understood(container["args"])
        assert params["config"].parent.as_posix() == container["volumeMounts"][0]["mountPath"]
        confined = container["securityContext"]
        assert not confined["allowPrivilegeEscalation"]
        assert confined["readOnlyRootFilesystem"]
        assert confined["capabilities"] == {"drop": ["ALL"]}
        memory = octets(container["resources"]["limits"]["memory"])
        assert memory >= 2 * octets(container["resources"]["requests"]["memory"]) >= 256 << 20


def test_what_goes_together_in_kubernetes_is_named_alike(stateful: dict[str, Any]) -> None:
    """Selectors find the pods, and the list of files is that of the folder."""
    whole = document(KUBERNETES / "kustomization.yml")
    files = {path.name for path in KUBERNETES.glob("*.yml")} - {"kustomization.yml"}
    assert set(whole["resources"]) == files
    assert whole["configMapGenerator"] == [{"name": "spooler", "files": ["spooler.toml"]}]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    assert stateful["spec"]["selector"]["matchLabels"] == labels
    assert document(KUBERNETES / "service.yml")["spec"]["selector"] == labels
    assert document(KUBERNETES / "disruption.yml")["spec"]["selector"]["matchLabels"] == labels
    assert document(KUBERNETES / "network.yml")["spec"]["podSelector"]["matchLabels"] == labels
    assert stateful["spec"]["serviceName"] == document(KUBERNETES / "service.yml")["metadata"]["name"]


def test_the_probe_asks_a_worker(sqlite_url: str, tmp_path: Path) -> None:
    """It has the token; what is not ready, or not there, is an exit code."""
    token = tmp_path / "token"
    token.write_text(f"{NO_SECRET}\n")
    config = tmp_path / "spooler.toml"
    config.write_text(f'[http]\ntoken-file = "{token}"\n')

    def probe(what: str, port: str, token: Path = token) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, PROBE, what, port],
            capture_output=True, text=True, check=False, env={**os.environ, "SPOOLER_TOKEN_FILE": str(token)},
        )  # fmt: skip
        return done.returncode, done.stdout

    with own_sink() as sink:
        words = ("worker", "--spool", sqlite_url, "--target", sink.tcp, "--config", str(config))
        with running(tmp_path / "log", *words, http="127.0.0.1:0") as worker:
            port = address_of(worker).rpartition(":")[2]
            worker.until(lambda: probe("readyz", port)[0] == 0)
            assert probe("livez", port) == (0, "alive\n")
            config_token = tmp_path / "other"
            config_token.write_text("another")
            assert probe("readyz", port, config_token)[0] == 1
        assert probe("livez", port)[0] == 1
