"""README.md, 'Install it in a cluster': its commands, in their order, on a real API server."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.gate import CHART, NAMESPACE, RELEASE, Installed
from e2e.cluster.objects import container, workload
from e2e.cluster.programs import until
from e2e.cluster.registry import GOOD, ROOT
from e2e.test_docs import commands

ROOT_FOLDER = Path(__file__).resolve().parents[2]
PAGE = (ROOT_FOLDER / "README.md").read_text("utf-8")
SECTION = PAGE.partition("## Install it in a cluster\n")[2].partition("\n## ")[0]
EXAMPLE = "docker.io/library/nginx:1.29"


class Reader:
    """Somebody who types what the page shows. Beside that the tests need ports of their own and a registry on
    loopback: those values come last, as a reader's own would."""

    def __init__(self, release: Installed, folder: Path) -> None:
        self.release = release
        self.folder = folder
        own = release.values("audit")
        del own["profile"]
        (folder / "own.yaml").write_text(yaml.safe_dump(own))
        (example,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
        (folder / "values.yaml").write_text(example)
        self.printed = ""

    def type(self, words: Sequence[str], *, ok: bool = True) -> str:
        words = [word.replace(EXAMPLE, self.release.registry.image(ROOT)) for word in words]
        words = [str(CHART) if word == "charts/portcullis" else word for word in words]
        words = [str(self.folder / word) if word == "values.yaml" else word for word in words]
        if words[0] == "helm":
            words = [*words, "--values", str(self.folder / "own.yaml"), "--timeout", "90s"]
        if "exec" in words:
            (pod,) = self.release.kubelet.alive
            done = self.release.kubelet.execute(pod, words[words.index("--") + 1 :])
        else:
            done = self.release.cluster.run(*words, ok=None)
        logs = self.release.kubelet.logs()
        assert (done.returncode == 0) is ok, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}\n{logs}"
        return done.stdout + done.stderr


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
    for name in {one["metadata"].get("namespace", NAMESPACE) for one in wanted} - {NAMESPACE}:
        release.cluster.namespace(name)
    done = release.cluster.apply(*wanted, options=("--dry-run=server",))
    assert done.stderr == ""
    assert done.stdout.count("(server dry run)") == len(wanted)

    deployment = next(one for one in wanted if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {}
    assert "would violate PodSecurity" in release.cluster.apply(deployment, options=("--dry-run=server",)).stderr


def test_the_section_is_installed_as_it_is_written(release: Installed, tmp_path: Path) -> None:
    typed = commands_of_the_section()
    assert typed == [words for words in commands("README.md") if words[0] in ("docker", "helm", "kubectl")]
    reader, cluster = Reader(release, tmp_path), release.cluster
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


def webhook(release: Installed) -> dict[str, dict[str, str]]:
    return release.webhook()


@pytest.mark.parametrize("words", [NAMESPACE, RELEASE])
def test_the_page_names_what_the_tests_install(words: str) -> None:
    assert words in SECTION
