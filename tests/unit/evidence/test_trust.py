"""Who may say what about which image."""
# ruff: noqa: E501  (tables: one pattern, one line)

from collections.abc import Sequence
from datetime import timedelta

import pytest

from portcullis.errors import ConfigError
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import ConfiguredSigner, KeylessSigner, NotationSigner, SignerKey
from portcullis.evidence.trust import Accept, Acceptance, Trust, TrustRule
from portcullis.evidence.verifier import AttestationVerifier
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


def accepting(*accepts: Accept) -> TrustRule:
    return TrustRule(("a.test/**",), accepts)


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
    assert (
        TRUST.accept(Repository("registry.example", path), about, [signer(name) for name in names]).signer.name
        == accepted
    )


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
        assert trust.accept(Repository(registry, path), VULNERABILITY, [signer("ci")]).signer.name == "ci"
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
        ([CI_KEY], [accepting(Accept((VEX,), ("ci",), count=2))], "asks for 2 of 1 signers"),
        ([CI_KEY], [accepting(Accept((VEX,), ("ci", "ci"), count=2))], "asks for 2 of 1 signers"),
        ([CI_KEY], [accepting(Accept((VEX,), ("ci",), count=0))], "asks for 0 of 1 signers"),
        ([CI_KEY], [accepting(Accept((VEX,), ("ci",), max_age=timedelta()))], "maxAge that no statement can meet"),
        ([CI_KEY, KeylessSigner("ci", "https://i.test", "x")], [], 'signer "ci" stands twice'),
        ([KeylessSigner("a", "https://i.test", "x"), KeylessSigner("b", "https://i.test", "x")], [], '"a" and "b" are the same'),
        ([NotationSigner("a", b"pem"), NotationSigner("b", b"pem")], [], '"a" and "b" are the same'),
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
def test_configurations_that_are_refused(signers: list[ConfiguredSigner], rules: list[TrustRule], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Trust(signers=signers, rules=rules)
    assert says in refused.value.message


def test_too_many_signers() -> None:
    trust = Trust(signers=[CI_KEY, RELEASE_KEY, SignerKey("third", pem(STRANGER))], rules=[])
    AttestationVerifier(trust=trust, limits=Limits(signers=3))
    with pytest.raises(ConfigError, match="limit signers is 2"):
        AttestationVerifier(trust=trust, limits=Limits(signers=2))


def test_signers_are_kept_by_their_kind() -> None:
    keyless, notation = KeylessSigner("github", "https://i.test", "x"), NotationSigner("acme", b"pem")
    trust = Trust(signers=[notation, CI_KEY, keyless], rules=[])
    assert [trusted.signer for trusted in trust.keys] == [signer("ci")]
    assert (trust.keyless, trust.notation) == ((keyless,), (notation,))


PLACE = Repository("a.test", "b")
ANN, BOB = "ann@acme.test", "bob@acme.test"


def person(name: str, identity: str) -> Signer:
    return Signer(name, "keyless", "https://i.test", identity)


def of(count: int, *names: str) -> Trust:
    """A trust in which ``count`` of the named may speak of vulnerabilities."""
    signers = [KeylessSigner(name, "https://i.test", name) for name in names]
    return Trust(signers=signers, rules=[accepting(Accept((VULNERABILITY,), names, count=count))])


@pytest.mark.parametrize(
    ("count", "signed", "beside", "have"),
    [
        (1, [person("x", ANN)], [], 1),
        (2, [person("x", ANN), person("y", BOB)], [], 2),
        (2, [person("x", ANN)], [person("y", BOB)], 2),
        (3, [person("x", ANN)], [person("y", BOB), person("z", "eve@acme.test")], 3),
        (2, [signer("x"), signer("y")], [], 2),
        # one more signature of the same is none more
        (2, [person("x", ANN), person("x", ANN)], [person("x", ANN)], 1),
        # one who fits two names is one
        (2, [person("x", ANN), person("y", ANN)], [], 1),
        # two who fit one name are one of the named
        (2, [person("x", ANN), person("x", BOB)], [], 1),
        # who fits both leaves one of them to the other
        (2, [person("x", ANN), person("y", ANN)], [person("x", BOB)], 2),
        (3, [person("x", ANN), person("y", ANN), person("z", ANN)], [person("x", BOB), person("x", "eve@acme.test")], 2),
        # a stranger to the rule counts for nothing
        (2, [person("x", ANN)], [person("other", BOB)], 1),
    ],
)  # fmt: skip
def test_how_many_have_signed(count: int, signed: Sequence[Signer], beside: Sequence[Signer], have: int) -> None:
    trust = of(count, "x", "y", "z")
    if have >= count:
        acceptance = trust.accept(PLACE, VULNERABILITY, signed, beside)
        assert (acceptance.signer, acceptance.needed) == (signed[0], count)
        return
    with pytest.raises(EvidenceError) as refused:
        trust.accept(PLACE, VULNERABILITY, signed, beside)
    assert refused.value.reason == "attestation-quorum"
    assert f"{have} of {count} signers" in refused.value.message
    assert '"x", "y", "z"' in refused.value.message


def test_who_signed_elsewhere_does_not_speak_here() -> None:
    """Otherwise one trusted signature anywhere would let everybody else repeat the statement as accepted."""
    with pytest.raises(EvidenceError) as refused:
        of(1, "x").accept(PLACE, VULNERABILITY, [person("other", BOB)], [person("x", ANN)])
    assert refused.value.reason == "attestation-untrusted"


def test_of_two_rules_the_one_that_is_met_counts() -> None:
    trust = Trust(
        signers=[CI_KEY, RELEASE_KEY],
        rules=[
            accepting(Accept((VULNERABILITY,), ("ci", "release"), count=2)),
            accepting(Accept((VULNERABILITY,), ("release",))),
        ],
    )
    assert trust.accept(PLACE, VULNERABILITY, [signer("release")]) == Acceptance(signer("release"), 1, None)
    with pytest.raises(EvidenceError, match="1 of 2 signers"):
        trust.accept(PLACE, VULNERABILITY, [signer("ci")])


@pytest.mark.parametrize(
    ("ages", "longest"), [([1, 5], 5), ([5, 1], 5), ([None, 5], None), ([5, None], None), ([3], 3)]
)
def test_of_two_ages_the_longer_counts(ages: list[int | None], longest: int | None) -> None:
    accepts = [Accept((VEX,), ("ci",), max_age=None if age is None else timedelta(hours=age)) for age in ages]
    found = Trust(signers=[CI_KEY], rules=[accepting(*accepts)]).accept(PLACE, VEX, [signer("ci")])
    assert found.max_age == (None if longest is None else timedelta(hours=longest))
