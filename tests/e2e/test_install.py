"""README.md, 'Install it in a cluster', and the pages for operators: their commands, in their order, on a real API
server."""

import base64
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.gate import CHART, FEW, NAMESPACE, RELEASE, Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, ROOT
from e2e.test_docs import PAGES, commands

ROOT_FOLDER = Path(__file__).resolve().parents[2]
PAGE = (ROOT_FOLDER / "README.md").read_text("utf-8")
SECTION = PAGE.partition("## Install it in a cluster\n")[2].partition("\n## ")[0]
EXAMPLE = "docker.io/library/nginx:1.29"
IN_BASE64 = """
import base64, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
sys.stdout.write(base64.b64encode(done.stdout).decode())
sys.exit(done.returncode)
"""
"""Runs what prints bytes, of which the stand-in for ``kubectl exec`` would make text."""

STORY = ("install", "upgrade", "backup", "recovery")
"""Pages that are typed one after the other, each in the cluster that the one before leaves; the end of ``upgrade``,
which uninstalls, comes last."""

ELSEWHERE = ("reports", "recheck", "pinning", "scan")
"""Pages whose commands are typed by tests of what they are about."""


class Reader:
    """Somebody who types what the page shows. Beside that the tests need a registry on loopback, and few policies where
    a page is long: those values come last, as a reader's own would."""

    def __init__(self, release: Installed, folder: Path, **config: Any) -> None:
        self.release = release
        self.folder = folder
        own = release.values("audit", **config)
        del own["profile"]
        (folder / "own.yaml").write_text(yaml.safe_dump(own))
        (example,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
        (folder / "values.yaml").write_text(example)

    def type(self, words: Sequence[str], *, ok: bool = True) -> str:
        words = [word.replace(EXAMPLE, self.release.registry.image(ROOT)) for word in words]
        words = [str(CHART) if word == "charts/portcullis" else word for word in words]
        words = [str(self.folder / word) if word == "values.yaml" else word for word in words]
        if words[:2] in (["helm", "install"], ["helm", "upgrade"]):
            words = [*words, "--values", str(self.folder / "own.yaml"), "--timeout", "600s"]
        if "exec" in words:
            (pod,) = self.release.kubelet.alive
            done = self.release.kubelet.execute(pod, words[words.index("--") + 1 :])
        elif words[0] == "portcullis":
            done = self._here(words[1:])
        else:
            done = self.release.cluster.run(*words, ok=None)
        logs = self.release.kubelet.logs() if words[0] == "helm" and done.returncode else ""
        assert (done.returncode == 0) is ok, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}\n{logs}"
        return done.stdout + done.stderr

    def _here(self, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """On the reader's own machine, which reaches the same registry."""
        host = self.release.registry.host
        environment = {
            **os.environ,
            "PORTCULLIS_REGISTRIES__HOSTS": f'{{"{host}": {{"insecure": true, "private": true}}}}',
        }
        command = [sys.executable, "-m", "portcullis", *words]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)

    def follow(self, page: str) -> Iterator[tuple[str, str]]:
        """Does what a page, or a part of it, shows: files are written under the names at their beginning, commands are
        typed; gives each with what it prints, before the next."""
        for language, block in re.findall(r"^```(yaml|sh)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
            if language == "yaml":
                if named := re.match(r"# (\S+\.yaml)\n", block):
                    (self.folder / named[1]).write_text(block)
                continue
            for line in block.splitlines():
                yield line, self._follow(line)

    def _follow(self, line: str) -> str:
        words, target = shlex.split(line, comments=True), ""
        if ">" in words:
            *words, _, target = words
        judged = words[:2] == ["portcullis", "check"]  # whose exit code is the verdict
        if target and "python" in words:
            words[words.index("python") :] = [sys.executable, "-c", IN_BASE64, *words[words.index("python") :]]
            (self.folder / target).write_bytes(base64.b64decode(self.type(words)))
            return ""
        printed = self.type(words, ok=not (judged or line.endswith("# is refused")))
        if target:
            (self.folder / target).write_text(printed)
        return printed


def commands_of_the_section() -> list[list[str]]:
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)).splitlines()
    return [shlex.split(line) for line in lines]


CRDS = ("cert-manager.io/", "monitoring.coreos.com/")
"""Groups whose kinds this cluster has not."""


def of_every_way(release: Installed) -> list[dict[str, Any]]:
    """What Helm makes of each file in ci/."""
    found: list[dict[str, Any]] = []
    for file in sorted((CHART / "ci").glob("*-values.yaml")):
        command = ("helm", "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(file))
        found += [one for one in yaml.safe_load_all(release.cluster.run(*command).stdout) if one]
    return [one for one in found if not one["apiVersion"].startswith(CRDS)]


def test_the_api_server_takes_every_way_to_install_it_without_a_warning(release: Installed) -> None:
    """Its own validation, and its own definition of the pod security standard `restricted`, from now on in force."""
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    release.cluster.api.patch(f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": restricted}}, "merge-patch")
    wanted = of_every_way(release)
    elsewhere = release.cluster.namespace("elsewhere")
    for one in wanted:
        if one["metadata"].get("namespace", NAMESPACE) != NAMESPACE:
            one["metadata"]["namespace"] = elsewhere
    done = release.cluster.apply(*wanted, options=("--dry-run=server",))
    assert done.stderr == ""
    assert done.stdout.count("(server dry run)") == len(wanted)

    deployment = next(one for one in wanted if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {}
    assert "would violate PodSecurity" in release.cluster.apply(deployment, options=("--dry-run=server",)).stderr


def test_the_section_is_installed_as_it_is_written(release: Installed, tmp_path: Path) -> None:
    typed = commands_of_the_section()
    assert typed == [words for words in commands("README.md") if words[0] in ("docker", "helm", "kubectl")]
    reader, cluster = Reader(release, tmp_path, policies={}), release.cluster
    build, push, install, read, forward, upgrade, namespace, try_it, rescue = typed
    assert (build[0], push[0]) == ("docker", "docker")  # tests/image builds it

    assert "Profile audit: nothing is refused" in reader.type(install)
    until(lambda: webhook(release)["clientConfig"].get("caBundle"), "the CA in the webhook configuration")
    cluster.namespace("shop")
    cluster.apply(workload("Pod", "seen", "shop", container("web", release.registry.image(ROOT))))
    listed = reader.type(read)
    assert re.search(r"admitted +Pod +shop/seen", listed), listed

    # There is no kubelet to forward a port: its number is what can be seen.
    ports = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))["ports"]
    assert forward[-2:] == [f"deployment/{RELEASE}", str(ports["pages"])]

    assert "Profile enforce: policies refuse" in reader.type(upgrade)
    until(lambda: "matchConditions" not in webhook(release), "the webhook to be called again")
    reader.type(namespace)
    refused = reader.type(try_it, ok=False)
    assert "admission webhook" in refused
    assert '[image-user] container "web"' in refused
    cluster.namespace("legacy")
    cluster.apply(workload("Pod", "old", "legacy", container("web", release.registry.image(ROOT))))
    assert [record["code"] for record in release.records_of("old")] == [200]

    reader.type(rescue)
    reader.type(try_it)
    reader.type(upgrade)
    until(lambda: webhook(release)["clientConfig"].get("caBundle"), "the CA in the webhook configuration made anew")
    cluster.apply(workload("Pod", "good", "try-portcullis", container("web", release.registry.image(GOOD))))
    assert [record["code"] for record in release.records_of("good")] == [200]


def page_of(name: str) -> str:
    return (ROOT_FOLDER / "docs" / f"operators-{name}.md").read_text("utf-8")


@pytest.fixture
def reader(release: Installed, tmp_path: Path) -> Reader:
    """Somebody before the first step, with a Deployment of the time before."""
    cluster = release.cluster
    if cluster.run("helm", "status", RELEASE, "--namespace", NAMESPACE, ok=None).returncode == 0:
        release.helm("uninstall")
    cluster.run("kubectl", "delete", "namespace", "try-portcullis", "--ignore-not-found", "--wait=false")
    until(lambda: cluster.api.find("/api/v1/namespaces/try-portcullis") is None, "the end of the namespace")
    if cluster.api.find("/api/v1/namespaces/shop") is None:
        cluster.namespace("shop")
    cluster.apply(workload("Deployment", "checkout", "shop", container("web", release.registry.image(ROOT))))
    return Reader(release, tmp_path, policies={"enabled": [*FEW, "pod-privileges"]})


@pytest.mark.timeout(1800)  # a dozen starts of the gate, and several commands in its pod
def test_the_pages_for_operators_are_followed_as_they_are_written(release: Installed, reader: Reader) -> None:
    printed: dict[str, str] = {}
    upgrade, uninstall = page_of("upgrade").split("\n## Uninstall\n")
    for page in (page_of("install"), upgrade, page_of("backup"), page_of("recovery"), uninstall):
        for line, said in reader.follow(page):
            printed[line] = said
            if line.startswith(("helm install", "helm upgrade", "helm rollback")):
                wait_until_called(release)

    def said(words: str) -> str:
        (found,) = [text for line, text in printed.items() if words in line]
        return found

    assert "[+]webhook-configuration" in said("portcullis health")
    assert re.search(r"admitted +Pod +try-portcullis/web", said("-- portcullis audit list --limit 5"))
    assert "[image-user]" in said("# is refused")
    assert re.search(r"refused +Pod +try-portcullis/web", said("--verdict refused"))
    assert "try-portcullis/web" in said("portcullis audit list --config restored.yaml")
    assert "shop/checkout" in said("portcullis check running.yaml")
    assert said("get validatingwebhookconfiguration portcullis --ignore-not-found") == ""
    assert release.cluster.api.find(f"/api/v1/namespaces/{NAMESPACE}") is None


def wait_until_called(release: Installed) -> None:
    """The new pod is there, and its predecessor had stopped the webhook in good order."""

    def called() -> bool:
        entry = release.webhook()
        return bool(entry["clientConfig"].get("caBundle")) and "matchConditions" not in entry

    try:
        until(called, "the webhook to be called", 90)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{release.webhook()}\n{release.kubelet.logs()}") from error


def test_the_chart_is_packed_as_the_page_for_closed_networks_says(release: Installed, reader: Reader) -> None:
    (words,) = [words for words in commands("docs/operators-air-gap.md") if words[0] == "helm"]
    reader.type([str(reader.folder) if word == "." else word for word in words])
    assert list(reader.folder.glob("portcullis-*.tgz"))


def test_no_page_for_operators_is_left_out() -> None:
    """What these do not type, test_docs.py does, or the tests of what the page is about."""
    pages = {path.name for path in (ROOT_FOLDER / "docs").glob("operators-*.md")}
    typed = {f"operators-{name}.md" for name in (*STORY, *ELSEWHERE)}
    assert {name for name in pages - typed if commands(f"docs/{name}")} <= {Path(page).name for page in PAGES}


def webhook(release: Installed) -> dict[str, dict[str, str]]:
    return release.webhook()


@pytest.mark.parametrize("words", [NAMESPACE, RELEASE])
def test_the_page_names_what_the_tests_install(words: str) -> None:
    assert words in SECTION
