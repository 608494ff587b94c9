"""What the section trust becomes."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from portcullis.errors import ConfigError
from portcullis.model.evidence import PredicateClass
from portcullis.model.image import Repository
from portcullis.server.settings import Settings
from portcullis.server.trusting import trust_of, trusting

ISSUER = "https://token.actions.githubusercontent.com"


def pem(key: Any) -> str:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    made: bytes = key.public_key().public_bytes(*form)
    return made.decode()


KEY = pem(ec.generate_private_key(ec.SECP256R1()))
OTHER = pem(ed25519.Ed25519PrivateKey.generate())
RELEASE = {"keyless": {"issuer": ISSUER, "identity": "https://github\\.com/acme/.+"}}


def settings(**trust: Any) -> Settings:
    return Settings.from_tree({"trust": trust})


def test_signers_of_every_kind() -> None:
    trust = trust_of(
        settings(
            signers={
                "ci": {"key": {"pem": KEY}},
                "other": {"key": {"pem": OTHER, "logRoot": "public"}},
                "release": RELEASE,
                "tenant": {"keyless": {"issuerPattern": "https://login\\..+", "identity": "a", "setOnly": False}},
            }
        )
    )
    assert [(key.signer.name, key.log_root) for key in trust.keys] == [("ci", ""), ("other", "public")]
    assert [(one.name, one.root, one.issuer_is_pattern, one.set_only) for one in trust.keyless] == [
        ("release", "public", False, True),
        ("tenant", "public", True, False),
    ]
    assert trust.notation == ()


def test_rules_with_a_number_and_an_end() -> None:
    rules = [
        {
            "images": ["registry.example/acme/**"],
            "accept": [
                {"predicates": ["sbom"], "signers": ["ci", "other"], "count": 2},
                {"predicates": ["vex"], "signers": ["other"], "maxAgeHours": 48},
            ],
        }
    ]
    trust = trust_of(settings(signers={"ci": {"key": {"pem": KEY}}, "other": {"key": {"pem": OTHER}}}, rules=rules))
    ci, other = (key.signer for key in trust.keys)
    here = Repository("registry.example", "acme/web")
    assert trust.accept(here, PredicateClass.SBOM, [ci, other]).needed == 2
    assert trust.accept(here, PredicateClass.VEX, [other]).max_age == timedelta(hours=48)


def test_a_type_of_ones_own() -> None:
    trust = trust_of(settings(predicates={"https://acme.example/trivy": "vulnerability"}))
    assert trust.classes("https://acme.example/trivy") == (PredicateClass.VULNERABILITY,)
    assert trust.classes("https://acme.example/trivy-evil") == (PredicateClass.OTHER,)


def test_what_nobody_needs_is_not_loaded() -> None:
    known = settings(signers={"ci": {"key": {"pem": KEY}}})
    assert trusting(known, known.bounds()).keyless is None
    asked = settings(signers={"release": RELEASE})
    assert trusting(asked, asked.bounds()).keyless is not None


@pytest.mark.parametrize(
    ("trust", "words"),
    [
        pytest.param({"signers": {"ci": {"key": {"pem": "no key"}}}}, 'signer "ci"', id="no-key"),
        pytest.param({"signers": {"p": {"notation": {"pem": "none"}}}}, "p", id="no-certificate"),
        pytest.param(
            {"signers": {"a": {"key": {"pem": KEY}}, "b": {"key": {"pem": KEY}}}}, "have the same key", id="twins"
        ),
        pytest.param(
            {
                "signers": {"ci": {"key": {"pem": KEY}}},
                "rules": [{"images": ["acme*"], "accept": [{"predicates": ["sbom"], "signers": ["ci"]}]}],
            },
            "image pattern",
            id="pattern",
        ),
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(trust: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=r"^trust: ") as raised:
        trusting(settings(**trust), Settings().bounds())
    assert words in raised.value.message


def test_a_root_that_is_none(tmp_path: Any) -> None:
    (tmp_path / "root.json").write_text(json.dumps({"mediaType": "text/plain"}))
    signers = {"release": {"keyless": {**RELEASE["keyless"], "root": "own"}}}
    broken = settings(signers=signers, roots={"own": {"file": str(tmp_path / "root.json")}})
    with pytest.raises(ConfigError, match="own"):
        trusting(broken, broken.bounds())
