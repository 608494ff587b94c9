"""``break-glass create`` and ``list``: what is asked of the cluster, and what people see."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from click.testing import Result
from typer.testing import CliRunner

from fakes.grants import REASON, GrantServer, grant, kubeconfig_of, put
from portcullis.cli.main import app
from portcullis.cluster.breakglass import Invalid, grant_of
from portcullis.times import parse_rfc3339

FOR_IMAGES = ("--policy", "image-user", "--image", "registry.example/acme/**", "--reason", REASON)
DIGEST = "sha256:" + "ab" * 32


@dataclass
class Home:
    """A cluster, and its kubeconfig."""

    server: GrantServer
    path: Path

    def run(self, *arguments: str) -> Result:
        command = ["break-glass", *arguments, "--kubeconfig", str(self.path)]
        return CliRunner().invoke(app, command, env={"COLUMNS": "130"})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    server = GrantServer()
    with kubeconfig_of(server, tmp_path) as path:
        yield Home(server, path)


def test_a_grant_is_made_as_it_was_asked_for(home: Home) -> None:
    home.server.warning = "there is no policy image-user"
    done = home.run("create", "inc-4711", *FOR_IMAGES, "--digest", DIGEST, "--for", "1h30m")
    assert done.exit_code == 0, done.output
    ((path, made),) = home.server.made
    assert path == "/apis/portcullis.dev/v1/namespaces/shop/breakglasses"
    assert (made["apiVersion"], made["kind"]) == ("portcullis.dev/v1", "BreakGlass")
    assert made["metadata"] == {"name": "inc-4711", "namespace": "shop"}
    ends = parse_rfc3339(made["spec"].pop("expires"))
    assert ends is not None
    assert timedelta(minutes=89) < ends - datetime.now(UTC) <= timedelta(minutes=90)
    assert made["spec"] == {
        "policies": ["image-user"],
        "images": ["registry.example/acme/**"],
        "digests": [DIGEST],
        "reason": REASON,
    }
    assert f"break-glass:shop/inc-4711 counts until {ends:%Y-%m-%d %H:%M} UTC, 1 h 30 min" in done.stdout
    assert "end it: kubectl delete breakglass inc-4711 --namespace shop" in done.stdout
    assert done.stderr == "Warning: there is no policy image-user\n"


def test_the_widest_grant_is_said_in_so_many_words(home: Home) -> None:
    wide = ("--all-policies", "--everything", "--covers-problems", "--reason", REASON)
    done = home.run("create", *wide, "--namespace", "bank", "--for", "24h", "-o", "json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["metadata"]["namespace"] == "bank"
    assert made["metadata"]["name"].startswith("grant-")
    assert made["spec"].keys() == {"policies", "coversProblems", "reason", "expires"}
    assert (made["spec"]["policies"], made["spec"]["coversProblems"]) == (["*"], True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--image", "r.example/a/b", "--reason", REASON), "which policies are covered?"),
        (("--policy", "p", "--all-policies", "--everything", "--reason", REASON), "which policies are covered?"),
        (("--policy", "p", "--reason", REASON), "which images are covered?"),
        (("--policy", "p", "--everything", "--digest", DIGEST, "--reason", REASON), "which images are covered?"),
        ((*FOR_IMAGES, "--for", "1 day"), "--for '1 day' is no time"),
        ((*FOR_IMAGES, "--for", "0m"), "--for '0m' is no time"),
        ((*FOR_IMAGES, "--for", ""), "is no time"),
        ((*FOR_IMAGES, "--for", "24h1m"), "spec.expires: more than 24 hours"),
        ((*FOR_IMAGES, "--image", "acme*"), "spec.images: the image pattern"),
        ((*FOR_IMAGES, "--digest", "abc"), "spec.digests:"),
        ((*FOR_IMAGES[:-1], "short"), "spec.reason: a text of 10 to 500"),
        (("Shop!", *FOR_IMAGES), "'Shop!' is no name"),
        (("a" * 64, *FOR_IMAGES), "is no name"),
    ],
)
def test_what_would_count_for_nothing_is_not_asked(home: Home, arguments: tuple[str, ...], said: str) -> None:
    done = home.run("create", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert home.server.asked == []
    assert home.server.made == []


def test_a_dry_run_prints_what_kubectl_takes_and_asks_nobody(tmp_path: Path) -> None:
    command = ("break-glass", "create", "inc", *FOR_IMAGES, "--dry-run", "--kubeconfig", str(tmp_path / "none"))
    for options, read in (((), yaml.safe_load), (("-o", "json"), json.loads)):
        done = CliRunner().invoke(app, [*command, *options])
        assert done.exit_code == 0, done.output
        made: dict[str, Any] = read(done.stdout)  # type: ignore[operator]
        assert made["metadata"] == {"name": "inc"}
        made["metadata"]["namespace"] = "shop"
        assert not isinstance(grant_of(made, datetime.now(UTC)), Invalid)


def test_what_the_api_server_refuses_is_said(home: Home) -> None:
    status = {"kind": "Status", "message": 'breakglasses.portcullis.dev is forbidden: User "bob" cannot create it'}
    home.server.faults.append(lambda _: web.json_response(status, status=403))
    done = home.run("create", *FOR_IMAGES)
    assert done.exit_code == 2
    assert "the grant cannot be made (context home of " in done.stderr
    assert 'is forbidden: User "bob" cannot create it' in done.stderr


def test_all_that_is_granted_with_its_end(home: Home) -> None:
    put(home.server, "shop", "now", grant(digests=[DIGEST]))
    put(home.server, "shop", "ended", grant(ago=3))
    put(home.server, "shop", "wrong", grant(hours=25))
    put(home.server, "bank", "wide", grant(policies=["*"], images=None, coversProblems=True, hours=0.25))
    done = home.run("list", "-o", "json")
    assert done.exit_code == 0, done.output
    listed = json.loads(done.stdout)
    assert listed["kind"] == "GrantList"
    assert [(one["id"], one["active"]) for one in listed["items"]] == [
        ("break-glass:shop/ended", False),
        ("break-glass:shop/now", True),
        ("break-glass:shop/wrong", False),
    ]
    assert listed["items"][1]["digests"] == [DIGEST]
    assert "more than 24 hours" in listed["items"][2]["invalid"]
    shown = home.run("list", "--all-namespaces").stdout
    for words in (
        *(
            "break-glass:bank/wide",
            "all policies",
            "everything in the namespace",
            "also what cannot be judged",
            "15 min left",
        ),
        *("break-glass:shop/now", "image-user", "images: registry.example/acme/**", "2 h left", REASON),
        *("break-glass:shop/ended", "ended", "counts for nothing", "more than 24 hours"),
    ):
        assert words in shown
    assert "bank" not in home.run("list", "--namespace", "shop").stdout


def test_none_at_all(home: Home) -> None:
    home.server.objects["/apis/portcullis.dev/v1/namespaces/shop/breakglasses"] = {}
    done = home.run("list")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "there are no grants\n")


def test_a_cluster_without_the_kind_says_so(home: Home) -> None:
    home.server.faults.append(lambda _: web.json_response({"kind": "Status"}, status=404))
    done = home.run("list")
    assert done.exit_code == 2
    assert "it has no kind BreakGlass" in done.stderr
