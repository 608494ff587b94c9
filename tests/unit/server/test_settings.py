"""portcullis.yaml: strict, with lines, and overlaid by the environment."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from portcullis.audit.databaseurl import EXAMPLES, read_address
from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.model.ruling import Mode
from portcullis.server.settings import Settings, configuration_schema, load_settings

SELECTING = (
    "policies:\n  overrides: [{modes: {a: warn}, namespaceLabels: {matchExpressions: [{key: a, operator: In}]}}]"
)
SELECTED = "portcullis.yaml:2: policies.overrides.0.namespaceLabels.matchExpressions.0"
MATCH = "portcullis.yaml:1: exceptions.0.match"
EXCEPTION = (
    "{id: EX-1, policies: [image-user], match: {namespaces: [a]}, reason: r, owner: o, expires: 2027-01-31T00:00:00Z}"
)
WHOLE = """
server:
  address: 0.0.0.0
  port: 9443
  pathSegment: 0123456789abcdef
  healthAddress: "::"
  healthPort: 9081
  tls: {certFile: tls/tls.crt, keyFile: /etc/tls.key}
  stopDelaySeconds: 1
  drainSeconds: 7
registries:
  default: registry.example
  allowed: [registry.example, "other.example:5000"]
  hosts:
    "localhost:5000": {insecure: true, private: true}
    registry.example: {username: robot, passwordFile: secrets/robot}
trust:
  signers:
    ci: {key: {pem: "-----BEGIN PUBLIC KEY-----\\nx\\n-----END PUBLIC KEY-----\\n"}}
  rules:
    - images: ["registry.example/acme/**"]
      accept: [{predicates: [vulnerability, sbom], signers: [ci]}]
policies:
  folders: [policies]
  builtin: false
  enabled: [image-user]
  modes: {"*": audit, image-user: deny}
  namespaces: {legacy: {image-user: warn}}
  parameters: {image-age: {maxDays: 90}}
  profile: baseline
  overrides:
    - namespaces: ["dev-*"]
      namespaceLabels: {matchExpressions: [{key: tier, operator: In, values: [a]}]}
      modes: {image-user: warn}
      parameters: {image-age: {maxDays: 365}}
exceptions:
  - id: EX-12
    policies: [image-user]
    match: {namespaces: [legacy], kinds: [Deployment], names: ["web-*"], images: ["registry.example/old/**"]}
    reason: moves in January
    owner: payments@example.com
    expires: "2027-01-31T00:00:00Z"
opa: {binary: /usr/bin/opa}
audit: {database: "sqlite:///audit.db", journal: journal}
cluster:
  podSpecPaths: [{group: argoproj.io, kind: Rollout, path: spec.template.spec}]
inspection: {enabled: true, workers: 3, catalogue: [rules.toml]}
telemetry: {traces: {endpoint: "https://collector.example:4318/v1/traces", ratio: 0.5}}
platforms: [linux/amd64, linux/arm/v7]
limits: {reviewBytes: 1000, deadlineReserveSeconds: 1}
"""


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "portcullis.yaml"
    path.write_text(text)
    return load_settings(path, environ or {})


def fault(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    return caught.value.message.replace(f"{tmp_path}/", "")


def test_every_key_is_read(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE)
    assert settings.server.port == 9443
    assert settings.server.path_segment.get_secret_value() == "0123456789abcdef"
    assert settings.server.tls.cert_file == tmp_path / "tls/tls.crt"
    assert settings.server.tls.key_file == Path("/etc/tls.key")
    assert settings.registries.hosts["localhost:5000"].insecure
    assert settings.registries.hosts["registry.example"].password_file == tmp_path / "secrets/robot"
    assert settings.trust.rules[0].accept[0].signers == ("ci",)
    assert settings.policies.folders == (tmp_path / "policies",)
    assert settings.policies.namespaces == {"legacy": {"image-user": Mode.WARN}}
    assert settings.policies.parameters == {"image-age": {"maxDays": 90}}
    assert settings.audit.database == f"sqlite:///{tmp_path}/audit.db"
    assert settings.cluster.pod_spec_paths[0].path == "spec.template.spec"
    assert settings.bounds() == Limits(review_bytes=1000, deadline_reserve_seconds=1)


def test_nothing_gives_the_defaults(tmp_path: Path) -> None:
    assert load_settings(None, {}) == load(tmp_path, "") == load(tmp_path, "# only words\n") == Settings()
    assert Settings().bounds() == Limits()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server:\n  prot: 1", "portcullis.yaml:2: server.prot: there is no such key; did you mean port?"),
        ("serverr: {}", "portcullis.yaml:1: serverr: there is no such key; did you mean server?"),
        (
            "opa:\n  zzz: 1",
            "portcullis.yaml:2: opa.zzz: there is no such key; there are address, binary, caFile, insecure, tokenFile",
        ),
        ("server:\n  port: high", "portcullis.yaml:2: server.port: a valid integer is expected"),
        ("server:\n  port: 70000", "portcullis.yaml:2: server.port: less than or equal to 65535 is expected"),
        ("server:\n\n  port: true", "portcullis.yaml:3: server.port: a valid integer is expected"),
        ("server:\n  address: 12", "portcullis.yaml:2: server.address: a valid string is expected"),
        ("server: []", "portcullis.yaml:1: server: an object is expected"),
        ("- server", "portcullis.yaml:1: the configuration is not a map of sections"),
        (
            "audit:\n  database: mysql://db/audit",
            f"portcullis.yaml:2: audit.database: 'mysql' is not supported; write {EXAMPLES}",
        ),
        ("audit:\n  passwordFile: password", "portcullis.yaml:1: audit: passwordFile needs database"),
        (
            "audit:\n  database: sqlite:///a.db\n  passwordFile: password",
            "portcullis.yaml:2: audit.database: a SQLite file has no password; leave out passwordFile",
        ),
        ("server:\n  tls: {certFile: a}", "portcullis.yaml:2: server.tls: certFile and keyFile go together"),
        (
            "server:\n  tls: {certFile: a, keyFile: b, selfManaged: {directory: c}}",
            "portcullis.yaml:2: server.tls: either certFile and keyFile, or selfManaged",
        ),
        (
            "server:\n  pathSegment: guess",
            "portcullis.yaml:2: server.pathSegment: 16 to 128 letters, digits, '-' or '_' are expected",
        ),
        (
            "policies:\n  modes:\n    image-user: block",
            "portcullis.yaml:3: policies.modes.image-user: 'deny', 'warn' or 'audit' is expected",
        ),
        (
            "trust:\n  signers:\n    ci:\n      keyles: {}",
            "portcullis.yaml:4: trust.signers.ci.keyles: there is no such key; did you mean keyless?",
        ),
        (
            "trust:\n  rules: [{images: [a], accept: [{predicates: [sbom], signers: [ci]}]}]",
            "portcullis.yaml:1: trust: a rule names the signer 'ci', which signers does not have",
        ),
        (
            "policies:\n  overrides: [{namespaces: [a]}]",
            "portcullis.yaml:2: policies.overrides.0: modes or parameters say what holds there",
        ),
        (
            "policies:\n  overrides: [{modes: {a: warn}}]",
            "portcullis.yaml:2: policies.overrides.0: namespaces or namespaceLabels say for which namespaces",
        ),
        (
            SELECTING.replace("In", "in"),
            f"{SELECTED}.operator: 'In', 'NotIn', 'Exists' or 'DoesNotExist' is expected",
        ),
        (
            SELECTING,
            f"{SELECTED}: values go with In and NotIn, and with nothing else",
        ),
        (
            f"exceptions: [{EXCEPTION}, {EXCEPTION}]",
            "portcullis.yaml:1: exceptions: there are two exceptions with the id EX-1",
        ),
        (
            f"exceptions: [{EXCEPTION.replace('{namespaces: [a]}', '{}')}]",
            f"{MATCH}: one of namespaces, namespaceLabels, kinds, names, images is expected",
        ),
        (
            f"exceptions: [{EXCEPTION.replace('2027-01-31T00:00:00Z', '2027-01-31')}]",
            "portcullis.yaml:1: exceptions.0.expires: a time with its zone is expected, such as 2027-01-31T00:00:00Z",
        ),
        (
            f"exceptions: [{EXCEPTION.replace('namespaces: [a]', 'images: [web]')}]",
            f'{MATCH}.images.0: the image pattern "web" does not begin with a registry\'s host (docker.io for Docker Hub)',  # noqa: E501
        ),
        (
            "trust:\n  keys: {}",
            "portcullis.yaml:2: trust.keys: there is no such key; there are carriers, predicates, repositories, ",
        ),
        ("trust: {signers: {ci: {}}}", "portcullis.yaml:1: trust.signers.ci: either key or keyless or notation"),
        (
            "trust: {signers: {ci: {key: {pem: a, secret: {name: b}}}}}",
            "portcullis.yaml:1: trust.signers.ci.key: either file or pem or secret",
        ),
        (
            "trust: {signers: {ci: {keyless: {issuer: a, identity: '['}}}}",
            "portcullis.yaml:1: trust.signers.ci.keyless.identity: the pattern ends too early",
        ),
        (
            "trust: {signers: {ci: {keyless: {issuer: a, identity: 'a(?=b)'}}}}",
            "portcullis.yaml:1: trust.signers.ci.keyless.identity: the pattern has a group of a kind that is not read",
        ),
        (
            "trust: {signers: {ci: {keyless: {issuerPattern: '(a)\\1', identity: a}}}}",
            "portcullis.yaml:1: trust.signers.ci.keyless.issuerPattern: the pattern has \\1, which is not read",
        ),
        (
            "trust: {signers: {ci: {keyless: {identity: a}}}}",
            "portcullis.yaml:1: trust.signers.ci.keyless: either issuer or issuerPattern",
        ),
        (
            "trust: {signers: {ci: {keyless: {issuer: a, identity: b, root: own}}}}",
            "portcullis.yaml:1: trust: the signer 'ci' names the root 'own', which roots does not have",
        ),
        (
            "trust: {signers: {ci: {key: {pem: a, logRoot: own}}}}",
            "portcullis.yaml:1: trust: the signer 'ci' names the root 'own', which roots does not have",
        ),
        ("trust: {roots: {own: {}}}", "portcullis.yaml:1: trust.roots.own: either builtin or file"),
        (
            "trust: {rules: [{images: [a], accept: [{predicates: [sbom], signers: [ci], count: 2}]}]}",
            "portcullis.yaml:1: trust.rules.0.accept.0: count is 2, and there are 1 signers",
        ),
        (
            "trust: {rules: [{images: [a], accept: [{predicates: [sbom], signers: [ci], maxAgeHours: 2}]}]}",
            "portcullis.yaml:1: trust.rules.0.accept.0: maxAgeHours goes with the predicates vex",
        ),
        ("trust: {carriers: []}", "portcullis.yaml:1: trust.carriers: "),
        (
            "trust: {repositories: [{images: [a], repository: 'r.example'}]}",
            "portcullis.yaml:1: trust.repositories.0.repository: registry/repository without tag or digest is expected",
        ),
        ("limits: {reviewBytes: 0}", "portcullis.yaml:1: limits.reviewBytes: greater than 0 is expected"),
        (
            "limits: {reviewByte: 1}",
            "portcullis.yaml:1: limits.reviewByte: there is no such key; did you mean reviewBytes?",
        ),
        ("platforms:\n  - amd64", "portcullis.yaml:2: platforms.0: os/architecture or os/architecture/variant is"),
        (
            "registries:\n  hosts:\n    r.example: {username: a}",
            "portcullis.yaml:3: registries.hosts.r.example: username and passwordFile go together",
        ),
        (
            "registries:\n  default: https://a.b",
            "portcullis.yaml:2: registries.default: the port of 'https://a.b' must be",
        ),
        ("server: {port: 1}\nserver: {port: 2}", "portcullis.yaml:2: the key 'server' is there twice"),
        ("opa: {binary: !!python/name:os.system x}", "portcullis.yaml:1: the tag "),
        ("opa: [", "portcullis.yaml:2: "),
        ("opa:\n  binary: \x00", "portcullis.yaml: not YAML: "),
        ("limits: {bodySeconds: .inf}", "portcullis.yaml:1: '.inf' is no number that JSON knows"),
        ("? [a]\n: b", "portcullis.yaml:1: a list or a map cannot be a key"),
        ("a: &a {}\n<<: *a", "portcullis.yaml:2: '<<' is not supported"),
    ],
)
def test_a_fault_names_file_line_and_key(tmp_path: Path, text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in fault(tmp_path, text).splitlines()), fault(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    lines = fault(tmp_path, "server:\n  port: x\nopa:\n  path: y").splitlines()
    assert [line.split(": ")[0] for line in lines] == ["portcullis.yaml:2", "portcullis.yaml:4"]


def test_what_is_written_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2hunter2" not in fault(tmp_path, "server:\n  pathSegment: hunter2hunter2!")
    assert "hunter2" not in fault(tmp_path, "", {"PORTCULLIS_SERVER__PORT": "hunter2"})


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]" for n in range(1, 8))]),
        "a: &a [*a]",
        "[" * 100_000,
        "a: " + "{a: " * 100_000,
        "- " * 10_000,
    ],
    ids=["aliases that multiply", "an alias of itself", "deep lists", "deep maps", "deep blocks"],
)
def test_yaml_that_grows_is_refused(tmp_path: Path, text: str) -> None:
    assert "portcullis.yaml:" in fault(tmp_path, text)


def test_an_alias_is_what_it_stands_for(tmp_path: Path) -> None:
    settings = load(tmp_path, "policies: {modes: &m {a: warn}, namespaces: {x: *m, y: *m}}")
    assert settings.policies.namespaces == {"x": {"a": Mode.WARN}, "y": {"a": Mode.WARN}}


def test_file_bounds(tmp_path: Path) -> None:
    path = tmp_path / "portcullis.yaml"
    path.write_text("# " + "x" * 100)
    with pytest.raises(ConfigError, match="has more than 50 bytes"):
        load_settings(path, {}, Limits(config_file_bytes=50))
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 0"):
        load_settings(path, {})
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_settings(tmp_path / "absent.yaml", {})


def test_the_environment_wins(tmp_path: Path) -> None:
    environ = {
        "PORTCULLIS_SERVER__PORT": "1234",
        "PORTCULLIS_SERVER__PATH_SEGMENT": "fedcba9876543210",
        "PORTCULLIS_SERVER__TLS__SELFMANAGED__DIRECTORY": "certs",
        "PORTCULLIS_POLICIES__MODES": '{"*": "warn"}',
        "PORTCULLIS_POLICIES__BUILTIN": "false",
        "PORTCULLIS_OPA__BINARY": "/opt/opa",
        "PORTCULLIS_PLATFORMS": '["linux/s390x"]',
        "PORTCULLIS_LIMITS__BODYSECONDS": "2.5",
    }
    settings = load(tmp_path, "server: {port: 1, address: 10.0.0.1}\npolicies: {modes: {a: deny}}", environ)
    assert (settings.server.port, settings.server.address) == (1234, "10.0.0.1")
    assert settings.server.path_segment.get_secret_value() == "fedcba9876543210"
    assert settings.server.tls.self_managed is not None
    assert settings.server.tls.self_managed.directory == tmp_path / "certs"
    assert settings.policies.modes == {"*": Mode.WARN}
    assert not settings.policies.builtin
    assert settings.opa.binary == Path("/opt/opa")
    assert settings.platforms == ("linux/s390x",)
    assert settings.bounds().body_seconds == 2.5


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PORTCULLIS_SERVER__PROT", "1", "PORTCULLIS_SERVER__PROT: server has no such key"),
        ("PORTCULLIS_SRV__PORT", "1", "PORTCULLIS_SRV__PORT: the configuration has no such key"),
        ("PORTCULLIS_SERVER__PORT__X", "1", "PORTCULLIS_SERVER__PORT__X: server.port has no such key"),
        ("PORTCULLIS_SERVER__PORT", "0x1", "PORTCULLIS_SERVER__PORT: is neither a JSON number"),
        ("PORTCULLIS_SERVER__PORT", "NaN", "PORTCULLIS_SERVER__PORT: is neither a JSON number"),
        ("PORTCULLIS_SERVER__PORT", "70000", "PORTCULLIS_SERVER__PORT: server.port: less than"),
        ("PORTCULLIS_POLICIES__MODES", '{"a": "x"}', "PORTCULLIS_POLICIES__MODES: policies.modes.a: 'deny'"),
        ("PORTCULLIS_POLICIES__MODES", "[" * 100_000, "PORTCULLIS_POLICIES__MODES: is neither"),
        ("PORTCULLIS_SERVER__ADDRESS", "x" * 200_000, "PORTCULLIS_SERVER__ADDRESS: is longer"),
    ],
)
def test_a_fault_names_the_variable(tmp_path: Path, variable: str, value: str, expected: str) -> None:
    assert fault(tmp_path, "server: {}", {variable: value}).startswith(expected)


def test_two_variables_for_one_key(tmp_path: Path) -> None:
    environ = {"PORTCULLIS_AUDIT__DATABASE": "a", "PORTCULLIS_AUDIT__DATA_BASE": "b"}
    assert "sets the same key as" in fault(tmp_path, "", environ)


def test_other_variables_do_not_matter() -> None:
    """Kubernetes sets such variables for a service that is named portcullis."""
    environ = {"PORTCULLIS_PORT": "tcp://10.0.0.1:443", "PORTCULLIS_SERVICE_HOST": "10.0.0.1", "PATH": "/bin"}
    assert load_settings(None, environ) == Settings()


def test_secrets_show_nowhere(tmp_path: Path) -> None:
    settings = load(tmp_path, "server: {pathSegment: s3cret-s3cret-s3cret}")
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
    assert b"s3cret" not in settings.document
    other = load(tmp_path, "server: {pathSegment: another-s3cret-words}")
    assert settings.revision == other.revision


def test_a_password_in_the_database_url_is_left_out(tmp_path: Path) -> None:
    settings = load(tmp_path, 'audit: {database: "postgresql://gate:s3cret@db.example/audit?sslmode=disable"}')
    assert settings.audit.database == "postgresql://gate:s3cret@db.example/audit?sslmode=disable"
    assert b"s3cret" not in settings.document
    assert b"gate@db.example" in settings.document


def test_the_file_of_the_password_is_part_of_the_database(tmp_path: Path) -> None:
    """So that whoever opens the log has all that it takes."""
    text = "audit: {database: 'postgresql://gate@127.0.0.1/audit', passwordFile: 'db #1'}"
    url = load(tmp_path, text).audit.database
    assert read_address(url) == replace(
        read_address("postgresql://gate@127.0.0.1/audit"), password_file=tmp_path / "db #1"
    )


def test_the_revision_follows_what_is_in_force(tmp_path: Path) -> None:
    key = tmp_path / "ci.pub"
    key.write_text("one")
    text = "trust: {signers: {ci: {key: {file: ci.pub}}}}"
    first = load(tmp_path, text)
    assert first.revision == load(tmp_path, f"# said otherwise\n{text}").revision
    assert first.revision != load(tmp_path, f"{text}\npolicies: {{modes: {{a: warn}}}}").revision
    key.write_text("two")
    assert first.revision != load(tmp_path, text).revision, "the key counts, not the name of its file"
    key.unlink()
    with pytest.raises(ConfigError, match=r"trust\.signers\.ci\.key\.file: .*ci\.pub cannot be read"):
        _ = load(tmp_path, text).revision


def test_what_trust_rests_on_is_in_the_revision_with_its_content(tmp_path: Path) -> None:
    for name in ("ca.pem", "tsa.pem", "root.json"):
        (tmp_path / name).write_text(f"first {name}")
    text = (
        "trust:\n  roots: {own: {file: root.json}}\n  signers:\n"
        "    partner: {notation: {file: ca.pem, timestampFile: tsa.pem}}\n"
        "    release: {keyless: {issuer: i, identity: d, root: own}}"
    )
    first = load(tmp_path, text)
    assert set(first.trust_files.pems) == {"partner"}
    for name in ("ca.pem", "tsa.pem", "root.json"):
        assert f"first {name}".encode() in first.document
        assert name.encode() not in first.document.replace(f"first {name}".encode(), b"")
        (tmp_path / name).write_text(f"second {name}")
        assert load(tmp_path, text).revision != first.revision
        (tmp_path / name).write_text(f"first {name}")
    assert load(tmp_path, text).revision == first.revision


def test_a_root_larger_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text("x" * 100)
    text = "trust: {roots: {own: {file: root.json}}}\nlimits: {trustedRootBytes: 50}"
    with pytest.raises(ConfigError, match=r"trust\.roots\.own\.file: .* has more than 50 bytes"):
        _ = load(tmp_path, text).trust_files
    (tmp_path / "two").write_text("")
    text = "trust: {roots: {a: {file: two}, b: {file: two}}}\nlimits: {trustedRoots: 1}"
    with pytest.raises(ConfigError, match="the limit trustedRoots is 1"):
        _ = load(tmp_path, text).trust_files


def test_a_key_in_a_secret_is_put_in_its_place(tmp_path: Path) -> None:
    text = "trust: {signers: {ci: {key: {secret: {name: signer}, padding: pss}}}}"
    settings = load(tmp_path, text)
    with pytest.raises(
        ConfigError, match=r"trust\.signers\.ci\.key\.secret: Secret signer can be read in a cluster only"
    ):
        _ = settings.revision
    fetched = settings.with_secret_keys({"ci": "the key"})
    assert fetched.trust_files.pems == {"ci": "the key"}
    assert fetched.trust.signers["ci"].key is not None
    assert fetched.trust.signers["ci"].key.padding == "pss"
    assert fetched.revision != settings.with_secret_keys({"ci": "another key"}).revision


def test_more_policy_folders(tmp_path: Path) -> None:
    settings = load(tmp_path, "policies: {folders: [a]}")
    before = settings.revision
    more = settings.with_policy_folders([Path("b")])
    assert more.policies.folders == (tmp_path / "a", Path("b"))
    assert more.revision != before


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]


def test_the_schema_takes_what_the_reader_takes(tmp_path: Path) -> None:
    import yaml

    schema = configuration_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert list(validator.iter_errors(yaml.safe_load(WHOLE))) == []
    assert list(validator.iter_errors({"server": {"prot": 1}}))
    assert list(validator.iter_errors({"limits": {"reviewBytes": 0}}))
    assert json.dumps(schema)
    assert set(schema["properties"]) == set(yaml.safe_load(WHOLE))


def test_the_pod_is_no_part_of_the_revision(tmp_path: Path) -> None:
    """Each pod has another name, and no decision hangs on it."""
    path = tmp_path / "portcullis.yaml"
    path.write_text("cluster: {webhook: {name: portcullis, standDown: true}}")
    names = ("portcullis-system/a", "portcullis-system/b")
    revisions = {load_settings(path, {"PORTCULLIS_CLUSTER__WEBHOOK__POD": name}).revision for name in names}
    assert len(revisions) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{name: portcullis, standDown: true}", "standDown needs pod"),
        ("{name: Portcullis}", "cluster.webhook.name"),
        ("{name: portcullis, pod: nowhere}", "cluster.webhook.pod"),
        ("{standDown: false}", "cluster.webhook.name: is required"),
    ],
)
def test_a_webhook_that_cannot_be_looked_after(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "portcullis.yaml"
    path.write_text(f"cluster: {{webhook: {text}}}")
    with pytest.raises(ConfigError, match=problem):
        load_settings(path, {})
