"""Image patterns mean the same in trust rules (Python) and in the policy image-source (Rego)."""

import json
import subprocess
from itertools import product
from pathlib import Path

from portcullis.errors import ConfigError
from portcullis.model.image import Repository
from portcullis.model.imagepattern import parse_pattern

GLOBS = Path(__file__).resolve().parents[2] / "policies" / "lib" / "globs.rego"

PATTERNS = (
    "**",
    "*/acme/web",
    "registry.example/**",
    "registry.example/acme/**",
    "registry.example/acme/*",
    "registry.example/*/web",
    "registry.example/**/web",
    "registry.example/a/**/b/**/c",
    "REGISTRY.example/Acme/Web",
    "registry.example:5000/acme/web",
    "[::1]:5000/acme/**",
    "localhost/web",
    "docker.io/library/nginx",
    "docker.io/**",
    "**/web",
    "registry.example/acme.web/**",
    # no patterns
    "",
    "registry.example",
    "registry.example/",
    "registry.example//web",
    "acme/web",
    "nginx",
    "registry.example/acme*",
    "registry.example/a**",
    "registry.example/acme:1",
    "registry.example/acme@sha256:1",
    "index.docker.io/library/nginx",
    "registry-1.docker.io/library/nginx",
    "registry.example/(a|b)+",
    "*",
)
REPOSITORIES = (
    ("registry.example", "acme/web"),
    ("registry.example", "acme"),
    ("registry.example", "acme-evil/web"),
    ("registry.example", "acme/web/deep"),
    ("registry.example.evil.com", "acme/web"),
    ("registryXexample", "acme/web"),
    ("registry.example", "a/b/c"),
    ("registry.example", "a/x/y/b/z/c"),
    ("registry.example", "acmeXweb/x"),
    ("registry.example", "acme.web/x"),
    ("registry.example:5000", "acme/web"),
    ("[::1]:5000", "acme/web"),
    ("localhost", "web"),
    ("docker.io", "library/nginx"),
    ("docker.io", "library/nginx-evil"),
)


def in_python(pattern: str, repository: Repository) -> bool:
    try:
        return parse_pattern(pattern).matches(repository)
    except ConfigError:
        return False


def test_both_languages_agree_on_every_pair(opa_binary: Path, tmp_path: Path) -> None:
    pairs = list(product(PATTERNS, (Repository(*repository) for repository in REPOSITORIES)))
    (tmp_path / "input.json").write_text(json.dumps([[pattern, str(repository)] for pattern, repository in pairs]))
    query = "{i | some i; data.portcullis.lib.globs.matches(input[i][0], input[i][1])}"
    done = subprocess.run(
        [opa_binary, "eval", "--data", GLOBS, "--input", tmp_path / "input.json", "--format", "json", query],
        capture_output=True,
        check=True,
        timeout=60,
    )
    in_rego = set(json.loads(done.stdout)["result"][0]["expressions"][0]["value"])
    matching = {index for index, (pattern, repository) in enumerate(pairs) if in_python(pattern, repository)}
    assert matching
    assert {pairs[index] for index in in_rego ^ matching} == set()
