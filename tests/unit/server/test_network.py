"""From the configuration to how registries are reached."""

import base64
from pathlib import Path

import pytest
import trustme
from yarl import URL

from portcullis.errors import ConfigError
from portcullis.model.image import Repository
from portcullis.registry.mirrors import Place
from portcullis.server.network import host_rules_of, mirrors_of, named_hosts
from portcullis.server.settings import Settings, load_settings

TLS, PLAIN = URL("https://registry.example"), URL("http://registry.example")


def load(folder: Path, registries: str) -> Settings:
    path = folder / "portcullis.yaml"
    path.write_text(f"registries:\n{registries}")
    return load_settings(path, {})


def fault(folder: Path, registries: str) -> str:
    def build() -> None:
        settings = load(folder, registries)
        host_rules_of(settings, {})
        mirrors_of(settings)

    with pytest.raises(ConfigError) as caught:
        build()
    return caught.value.message


def test_hosts(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    rules = host_rules_of(
        load(
            tmp_path,
            """
  allowed: [a.example]
  hosts:
    a.example: {insecure: true}
    b.example: {private: true, caFile: ca.pem}
""",
        ),
        {},
    )
    assert rules.allowed == ("a.example",)
    assert (set(rules.insecure), set(rules.private)) == ({"a.example"}, {"b.example"})
    assert rules.ca_files == {"b.example": tmp_path / "ca.pem"}
    assert rules.proxy(TLS) is rules.proxy(PLAIN) is None


def test_mirrors_in_both_forms(tmp_path: Path) -> None:
    mirrors = mirrors_of(
        load(
            tmp_path,
            """
  mirrors:
    docker.io: [m.example/hub, {endpoint: "n.example:5000", tags: false}]
""",
        )
    )
    assert mirrors.places(Repository("docker.io", "library/nginx")) == (
        Place(Repository("m.example", "hub/library/nginx"), True),
        Place(Repository("n.example:5000", "library/nginx"), False),
    )


@pytest.mark.parametrize(
    ("registries", "says"),
    [
        ("  mirrors: {docker.io: m.example}", "registries.mirrors"),
        ('  mirrors: {docker.io: ["https://m.example"]}', "registries.mirrors"),
        ('  mirrors: {docker.io: ["m.example/UPPER"]}', "registries.mirrors"),
        ('  mirrors: {"https://docker.io": []}', "registries.mirrors"),
        ("  mirrors: {docker.io: [{endpoint: m.example, tag: true}]}", "registries.mirrors"),
        ("  mirrors: {r.example/acme: [m.example]}", "needs a path"),
        ("  proxy: {https: socks5://p.example}", "registries.proxy.https"),
        ("  proxy: {http: 'http://ci:secret@p.example'}", "username and passwordFile"),
        ("  proxy: {https: p.example, username: ci}", "go together"),
        ("  proxy: {https: p.example, username: ci, passwordFile: empty}", "is empty"),
        ("  proxy: {https: p.example, username: ci, passwordFile: missing}", "registries.proxy.passwordFile"),
    ],
)
def test_what_is_wrong(registries: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    message = fault(tmp_path, registries)
    assert says in message
    assert "secret" not in message


ENVIRONMENT = {"HTTPS_PROXY": "http://ci:word@env.example:3128", "NO_PROXY": "inside.example"}


def test_the_proxy_of_the_environment(tmp_path: Path) -> None:
    rules = host_rules_of(load(tmp_path, "  allowed: []"), ENVIRONMENT)
    proxy = rules.proxy(TLS)
    assert proxy is not None
    assert str(proxy.url) == "http://env.example:3128"
    assert base64.b64decode(proxy.authorization.removeprefix("Basic ")) == b"ci:word"
    assert rules.proxy(PLAIN) is rules.proxy(URL("https://inside.example")) is None


def test_that_of_the_configuration_takes_its_place(tmp_path: Path) -> None:
    """All of it: what it leaves out is not looked for in the environment."""
    (tmp_path / "word").write_text("pass:word\n")
    rules = host_rules_of(
        load(tmp_path, "  proxy: {http: p.example, noProxy: [.own.example], username: ci, passwordFile: word}"),
        ENVIRONMENT,
    )
    proxy = rules.proxy(PLAIN)
    assert proxy is not None
    assert str(proxy.url) == "http://p.example"
    assert base64.b64decode(proxy.authorization.removeprefix("Basic ")) == b"ci:pass:word"
    assert rules.proxy(TLS) is rules.proxy(URL("http://a.own.example")) is None
    assert host_rules_of(load(tmp_path, "  proxy: {}"), ENVIRONMENT).proxy(TLS) is None


def test_a_proxy_of_the_environment_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the variable HTTPS_PROXY") as caught:
        host_rules_of(load(tmp_path, "  allowed: []"), {"HTTPS_PROXY": "socks5://ci:word@x"})
    assert "word" not in caught.value.message


def test_the_hosts_that_the_configuration_names(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
  default: default.example
  allowed: [allowed.example, own.example]
  hosts: {"own.example:5000": {private: true}}
  mirrors: {from.example/acme: [to.example/acme, {endpoint: "other.example:80"}]}
  credentials: [{match: secret.example/x, provider: ecr}, {provider: gcp}]
trust:
  signers: {ci: {key: {pem: x}}}
  repositories: [{images: ["**"], repository: attested.example/a}]
  rules:
    - images: ["trusted.example/**", "*.example/**", "**", "own.example/**"]
      accept: [{predicates: [sbom], signers: [ci]}]
""",
    )
    assert named_hosts(settings) == (
        "default.example",
        "own.example:5000",
        "allowed.example",
        "own.example",
        "to.example",
        "other.example:80",
        "from.example",
        "secret.example",
        "attested.example",
        "trusted.example",
    )
