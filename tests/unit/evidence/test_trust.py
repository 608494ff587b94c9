"""Who may say what about which image."""
# ruff: noqa: E501  (tables: one pattern, one line)

import pytest

from portcullis.errors import ConfigError
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.trust import Accept, SignerKey, Trust, TrustRule
from portcullis.evidence.verifier import KeyVerifier
from portcullis.limits import Limits
from portcullis.model.evidence import PredicateClass, Signer
from portcullis.model.image import Repository
from vectors.attestations import CI, RELEASE, STRANGER, pem

CI_KEY, RELEASE_KEY = SignerKey("ci", pem(CI)), SignerKey("release", pem(RELEASE))
VULNERABILITY, VEX, SBOM = PredicateClass.VULNERABILITY, PredicateClass.VEX, PredicateClass.SBOM


def signer(name: str) -> Signer:
    return Signer(name, "key")


def rule(*images: str, **accept: tuple[PredicateClass, ...]) -> TrustRule:
    return TrustRule(images, tuple(Accept(about, (name,)) for name, about in accept.items()))


TRUST = Trust(
    signers=[CI_KEY, RELEASE_KEY],
    rules=[
        rule("registry.example/acme/**", ci=(VULNERABILITY, SBOM), release=(VEX,)),
        rule("registry.example/acme/prod/**", release=(VULNERABILITY,)),
    ],
)


@pytest.mark.parametrize(
    ("path", "about", "names", "accepted"),
    [
        ("acme/web", VULNERABILITY, ["ci"], "ci"),
        ("acme/web", SBOM, ["ci"], "ci"),
        ("acme/web", VEX, ["release"], "release"),
        ("acme/web", VULNERABILITY, ["release", "ci"], "ci"),
        # rules add up
        ("acme/prod/web", VULNERABILITY, ["release"], "release"),
        ("acme/prod/web", VULNERABILITY, ["ci"], "ci"),
    ],
)
def test_who_is_accepted(path: str, about: PredicateClass, names: list[str], accepted: str) -> None:
    assert TRUST.accept(Repository("registry.example", path), about, [signer(name) for name in names]).name == accepted


@pytest.mark.parametrize(
    ("repository", "about", "name", "says"),
    [
        (Repository("registry.example", "acme/web"), VEX, "ci", 'signer "ci" is not trusted for vex'),
        (Repository("registry.example", "acme/web"), VULNERABILITY, "release", '"release" is not trusted'),
        (Repository("registry.example", "acme/web"), PredicateClass.OTHER, "ci", "for other attestations"),
        (Repository("registry.example", "acme-evil/web"), VULNERABILITY, "ci", "no trust rule covers"),
        (Repository("registry.example.evil.test", "acme/web"), VULNERABILITY, "ci", "no trust rule covers"),
        (Repository("docker.io", "registry.example/acme/web"), VULNERABILITY, "ci", "no trust rule covers"),
    ],
)
def test_who_is_not(repository: Repository, about: PredicateClass, name: str, says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        TRUST.accept(repository, about, [signer(name)])
    assert refused.value.reason == "attestation-untrusted"
    assert says in refused.value.message
    assert str(repository) in refused.value.message


def test_without_rules_nothing_is_believed() -> None:
    with pytest.raises(EvidenceError, match="no trust rule covers"):
        Trust(signers=[CI_KEY], rules=[]).accept(Repository("a.test", "b"), VULNERABILITY, [signer("ci")])


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("registry.example/acme/web", ["registry.example/acme/web"], ["registry.example/acme/web2", "registry.example/acme/web/x"]),
        ("registry.example/acme/*", ["registry.example/acme/web"], ["registry.example/acme", "registry.example/acme/a/b"]),
        ("registry.example/acme/**", ["registry.example/acme/web", "registry.example/acme/a/b", "registry.example/acme"], ["registry.example/acmes/web"]),
        ("registry.example/**/web", ["registry.example/web", "registry.example/a/b/web"], ["registry.example/web/a"]),
        ("registry.example/**/b/**/c", ["registry.example/b/c", "registry.example/b/b/x/c/c"], ["registry.example/c/b"]),
        ("registry.example/*/web", ["registry.example/a/web"], ["registry.example/web", "registry.example/a/b/web"]),
        ("*/acme/**", ["a.test/acme/x"], ["a.test/b/acme/x"]),
        ("**", ["a.test/b", "docker.io/library/alpine"], []),
        ("docker.io/library/alpine", ["docker.io/library/alpine"], ["docker.io/alpine", "quay.io/library/alpine"]),
        ("Registry.Example:5000/Acme/*", ["registry.example:5000/acme/a"], ["registry.example/acme/a"]),
        ("localhost/acme/*", ["localhost/acme/a"], ["localhost:5000/acme/a"]),
        ("[::1]:5000/a", ["[::1]:5000/a"], ["[::2]:5000/a"]),
    ],
)  # fmt: skip
def test_image_patterns(pattern: str, matching: list[str], other: list[str]) -> None:
    trust = Trust(signers=[CI_KEY], rules=[rule(pattern, ci=(VULNERABILITY,))])
    for text in matching:
        registry, _, path = text.partition("/")
        assert trust.accept(Repository(registry, path), VULNERABILITY, [signer("ci")]).name == "ci"
    for text in other:
        registry, _, path = text.partition("/")
        with pytest.raises(EvidenceError, match="no trust rule covers"):
            trust.accept(Repository(registry, path), VULNERABILITY, [signer("ci")])


@pytest.mark.parametrize(
    ("signers", "rules", "says"),
    [
        ([CI_KEY, CI_KEY], [], 'signer "ci" stands twice'),
        ([CI_KEY, SignerKey("other", pem(CI))], [], '"ci" and "other" have the same key'),
        ([SignerKey("", pem(CI))], [], "no name"),
        ([SignerKey("ci", b"nonsense")], [], 'signer "ci": '),
        ([CI_KEY], [rule("a.test/**", cj=(VEX,))], 'unknown signer "cj"'),
        ([CI_KEY], [rule(ci=(VEX,))], "names no images"),
        ([CI_KEY], [rule("a.test/**")], "accepts nothing"),
        ([CI_KEY], [rule("a.test/**", ci=())], "needs predicates and signers"),
        ([CI_KEY], [TrustRule(("a.test/**",), (Accept((VEX,), ()),))], "needs predicates and signers"),
        *(
            ([CI_KEY], [rule(pattern, ci=(VEX,))], says)
            for pattern, says in [
                ("", "empty segment"),
                ("a.test//b", "empty segment"),
                ("a.test/b/", "empty segment"),
                ("acme/**", "does not begin with a registry's host"),
                ("alpine", "does not begin with a registry's host"),
                ("a.test/acme*", "whole segments"),
                ("*.test/acme", "whole segments"),
                ("a.test/***", "whole segments"),
                ("a.test/b:1.0", "without tag or digest"),
                ("a.test/b@sha256:12", "without tag or digest"),
                ("a.test/{b,c}", "registry/repository"),
                ("a.test/(b|c)", "registry/repository"),
                ("a.test/b c", "registry/repository"),
                ("a.test", "no repository"),
                ("*", "no repository"),
                ("index.docker.io/library/alpine", "otherwise than docker.io"),
                ("a.te(st/b", "registry's host"),
                ("a.test/b?", "registry/repository"),
                ("a.test" + "/b" * 64, "more than 64 segments"),
            ]
        ),
    ],
)  # fmt: skip
def test_configurations_that_are_refused(signers: list[SignerKey], rules: list[TrustRule], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Trust(signers=signers, rules=rules)
    assert says in refused.value.message


def test_too_many_signers() -> None:
    trust = Trust(signers=[CI_KEY, RELEASE_KEY, SignerKey("third", pem(STRANGER))], rules=[])
    KeyVerifier(trust=trust, limits=Limits(signers=3))
    with pytest.raises(ConfigError, match="limit signers is 2"):
        KeyVerifier(trust=trust, limits=Limits(signers=2))
