"""Which bodies are looked into, and what is said of them."""

import string
from dataclasses import replace

import pytest

from fakes.layerfacts import BUILT_IN
from portcullis.inspection.catalogue import load_catalogue
from portcullis.inspection.reading import CatalogueReading, reading_revision
from portcullis.limits import DEFAULT_LIMITS, Limits

READING = CatalogueReading(catalogue=BUILT_IN, limits=DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("path", "cap"),
    [
        ("etc/passwd", DEFAULT_LIMITS.user_database_bytes),
        ("etc/group", DEFAULT_LIMITS.user_database_bytes),
        ("etc/os-release", DEFAULT_LIMITS.os_release_bytes),
        ("usr/lib/os-release", DEFAULT_LIMITS.os_release_bytes),
        ("var/lib/dpkg/status", DEFAULT_LIMITS.package_database_bytes),
        ("var/lib/dpkg/status.d/tzdata", DEFAULT_LIMITS.package_database_bytes),
        ("lib/apk/db/installed", DEFAULT_LIMITS.package_database_bytes),
        ("var/lib/rpm/rpmdb.sqlite", DEFAULT_LIMITS.package_database_bytes),
        ("var/lib/dpkg/status.d/tzdata.md5sums", 0),
        ("var/lib/dpkg/info/tzdata.list", 0),
        ("etc/passwd-", 0),
        ("x/etc/passwd", 0),
        ("usr/bin/bash", 0),
    ],
)
def test_what_is_kept(path: str, cap: int) -> None:
    assert READING.keep(path.encode()) == cap


def test_what_is_asked_for_beside_it() -> None:
    reading = CatalogueReading(catalogue=BUILT_IN, limits=DEFAULT_LIMITS, extra=frozenset({b"data/passwd"}))
    assert reading.keep(b"data/passwd") == DEFAULT_LIMITS.user_database_bytes


@pytest.mark.parametrize(
    ("limit", "path"),
    [
        ("user_database_bytes", b"etc/passwd"),
        ("os_release_bytes", b"etc/os-release"),
        ("package_database_bytes", b"var/lib/dpkg/status"),
    ],
)
def test_caps_are_limits(limit: str, path: bytes) -> None:
    limits = replace(DEFAULT_LIMITS, **{limit: 7})
    assert CatalogueReading(catalogue=BUILT_IN, limits=limits).keep(path) == 7


def marks(path: str, body: bytes, *, mode: int = 0o644) -> tuple[str, ...]:
    probe = READING.probe(path.encode(), mode, len(body))
    return () if probe is None else probe.marks(body[: probe.limit])


KEY = b"-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n"
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMIIEow\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("a/tls.key", KEY, "private-key"),
        ("a/tls.pem", CERTIFICATE + KEY, "private-key"),
        ("a/tls.pem", KEY.replace(b"RSA ", b""), "private-key"),
        ("a/tls.pem", KEY.replace(b"RSA", b"ENCRYPTED"), "private-key"),
        ("a/tls.pem", KEY.replace(b"\n", b"\r\n"), "private-key"),
        ("a/x.asc", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ", "private-key"),
        ("a/x.ppk", b"PuTTY-User-Key-File-3: ssh-ed25519\n", "private-key"),
        ("a/ca.pem", CERTIFICATE, None),
        ("a/ca.pem", b"see -----BEGIN PRIVATE KEY----- below", "private-key"),
        ("a/notes.txt", KEY, None),
        ("l/site-packages/t/x.pem", KEY, None),
        ("root/.ssh/id_rsa", KEY.replace(b"RSA", b"OPENSSH"), "ssh-key"),
        ("etc/ssh/ssh_host_rsa_key", KEY, "ssh-key"),
        ("root/.ssh/id_rsa.pub", b"ssh-rsa AAAA", None),
        ("root/.npmrc", b"//registry.npmjs.org/:_authToken=npm_abc\n", "npm-token"),
        ("root/.npmrc", b"//registry.npmjs.org/:_authToken=${NPM_TOKEN}\n", None),
        ("root/.npmrc", b"registry=https://registry.npmjs.org/\n", None),
        ("root/.npmrc", b"# _authToken=x\n", None),
        ("root/.yarnrc.yml", b"npmAuthToken: abc\n", "yarn-token"),
        ("root/.pypirc", b"[pypi]\nusername = __token__\npassword = pypi-abc\n", "pypi-password"),
        ("root/.pypirc", b"[pypi]\nusername = a\n", None),
        ("etc/pip.conf", b"[global]\nindex-url = https://a:b@example.test/simple\n", "pip-index-password"),
        ("etc/pip.conf", b"[global]\nindex-url = https://example.test/simple\n", None),
        ("root/.netrc", b"machine a login b password c\n", "netrc-password"),
        ("root/.netrc", b"machine a\n  login b\n  password c\n", "netrc-password"),
        ("root/.netrc", b"machine a login b\n", None),
        ("root/.docker/config.json", b'{"auths": {"a": {"auth": "YTpi"}}}', "registry-password"),
        ("root/.docker/config.json", b'{"auths": {"a": {}}, "credsStore": "pass"}', None),
        ("app/config.json", b'{"auths": {"a": {"auth": "YTpi"}}}', None),
        ("root/.aws/credentials", b"[default]\naws_secret_access_key = x\n", "aws-credentials"),
        ("root/.aws/config", b"[default]\nregion = eu-west-1\n", None),
        (
            "app/sa.json",
            b'{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\n"}',
            "gcp-credentials",
        ),
        ("app/package.json", b'{"type": "module"}', None),
        ("root/.kube/config", b"users:\n- user:\n    token: abc\n", "kubeconfig"),
        ("root/.kube/config", b"clusters: []\n", None),
        ("root/.git-credentials", b"https://a:b@github.com\n", "git-credentials"),
        ("app/.git/config", b"  url = https://oauth2:tok@example.test/a\n", "git-credentials"),
        ("app/.git/config", b"  url = https://example.test/a\n", None),
        ("root/.cargo/credentials.toml", b'[registry]\ntoken = "x"\n', "package-credentials"),
    ],
)
def test_secrets_by_content(path: str, body: bytes, found: str | None) -> None:
    assert marks(path, body) == ((found,) if found else ())


def test_shared_objects() -> None:
    body = b"\x7fELF" + bytes(50) + b"\0libc.so.6\0"
    assert marks("l/site-packages/a.so", body) == ("libc:glibc",)
    assert marks("app/node_modules/a/a.node", body) == ("libc:glibc",)
    assert marks("usr/lib/a.so", body) == ()


@pytest.mark.parametrize(("path", "probed"), [("app/tool", True), ("tool", True), ("usr/bin/tool", False)])
def test_programs_that_a_distribution_does_not_bring(path: str, probed: bool) -> None:
    assert (READING.probe(path.encode(), 0o755, 5) is not None) is probed
    assert READING.probe(path.encode(), 0o644, 5) is None
    assert READING.probe(path.encode(), 0o755, 0) is None


@pytest.mark.parametrize(
    ("limits", "path", "body"),
    [
        (replace(DEFAULT_LIMITS, probed_bytes=len(KEY)), "a.pem", KEY),
        (replace(DEFAULT_LIMITS, probed_library_bytes=60), "a/x.node", b"\x7fELF".ljust(49, b".") + b"\0libc.so.6\0"),
    ],
)
def test_only_the_beginning_is_looked_at(limits: Limits, path: str, body: bytes) -> None:
    probe = CatalogueReading(catalogue=BUILT_IN, limits=limits).probe(path.encode(), 0o644, len(body))
    assert probe is not None
    assert probe.limit == len(body)
    assert probe.marks(body)


@pytest.mark.parametrize("filler", [b" ", b"\n", b"a", b"=", b"x:", b"://a:", b"-----BEGIN ", b"_auth", b'"auth" : '])
def test_no_expression_takes_long(filler: bytes) -> None:
    """Every expression takes linear time: the whole of what is looked at, of the worst forms, in one go."""
    body = (filler * DEFAULT_LIMITS.probed_bytes)[: DEFAULT_LIMITS.probed_bytes]
    for rule in BUILT_IN.rules:
        for pattern in rule.files if rule.content else ():
            path = pattern.replace("*", "a").removeprefix("/").encode()
            probe = READING.probe(path, 0o644, len(body))
            assert probe is None or isinstance(probe.marks(body), tuple)


class TestRevision:
    RULE = '[[rules]]\nid = "mine"\nclasses = ["secrets"]\nfiles = ["*.tok"]\n'

    def test_it_changes_with_what_is_read(self) -> None:
        before = reading_revision(BUILT_IN, DEFAULT_LIMITS)
        with_content = load_catalogue([("f.toml", self.RULE + 'content = "x"\n')])
        assert reading_revision(with_content, DEFAULT_LIMITS) != before
        assert reading_revision(BUILT_IN, replace(DEFAULT_LIMITS, probed_bytes=1)) != before
        assert set(before) <= set(string.hexdigits)

    def test_it_stays_with_other_rules(self) -> None:
        """A rule about names alone needs no layer to be read anew."""
        assert reading_revision(load_catalogue([("f.toml", self.RULE)]), DEFAULT_LIMITS) == reading_revision(
            BUILT_IN, DEFAULT_LIMITS
        )

    def test_other_patterns_are_tried_too(self) -> None:
        text = self.RULE.replace("*.tok", "token_*_x") + 'content = "y"\n'
        reading = CatalogueReading(catalogue=load_catalogue([("f.toml", text)]), limits=DEFAULT_LIMITS)
        probe = reading.probe(b"a/token_1_x", 0o644, 3)
        assert probe is not None
        assert probe.marks(b"xyz") == ("mine",)
