"""When sigstore-python is asked for its opinion, what it says, and that it is imported for nobody else."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from portcullis.evidence.bundle import parse_bundle
from portcullis.evidence.certificates import signing_key
from portcullis.evidence.material import Material
from portcullis.evidence.opinion import SecondOpinion
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.roots import load_root
from portcullis.evidence.signed import Signed
from portcullis.limits import DEFAULT_LIMITS
from vectors import sigstore as made
from vectors.attestations import compact, statement
from vectors.keys import RSA
from vectors.sigstore import AT

PAYLOAD = compact(statement())
SIGNED = Signed(made.pre_authenticated(PAYLOAD))
HOLDER = made.leaf()
END = AT + timedelta(days=1)
USUAL = compact(made.bundle(PAYLOAD, HOLDER))
STAMPED = compact(made.bundle(PAYLOAD, HOLDER, stamps=lambda signature: [made.stamp(signature)]))
MESSAGE = compact(made.message_bundle(b"x", HOLDER))


def opinion(**changes: Any) -> SecondOpinion:
    return SecondOpinion(load_root(made.source(**changes), DEFAULT_LIMITS))


def read(content: bytes) -> Material:
    return parse_bundle(content, DEFAULT_LIMITS)


def is_sought(content: bytes, times: Sequence[datetime] = (), **changes: Any) -> bool:
    return opinion(**changes).is_sought(read(content), signing_key(HOLDER.certificate), times)


def _old(included: bool) -> bytes:
    def entries(one: made.Made) -> Sequence[Any]:
        return [made.entry(made.dsse(one), included=included)]

    return compact(made.bundle(PAYLOAD, HOLDER, media_type=made.BUNDLE_V01, entries=entries))


def _two_entries() -> bytes:
    return compact(made.bundle(PAYLOAD, HOLDER, entries=lambda one: [made.entry(made.dsse(one))] * 2))


def _large() -> bytes:
    return made.keyless_bundle(compact(statement(predicate={"x": "y" * 100_000})))


@pytest.mark.parametrize(
    ("content", "changes", "times", "sought"),
    [
        pytest.param(lambda: USUAL, {}, (), True, id="the usual bundle"),
        pytest.param(lambda: MESSAGE, {}, (), True, id="a plain signature"),
        pytest.param(lambda: STAMPED, {}, (AT,), True, id="a time-stamp"),
        pytest.param(lambda: _old(True), {}, (), True, id="an old bundle"),
        pytest.param(lambda: _old(False), {}, (), False, id="an entry without proof"),
        pytest.param(_two_entries, {}, (), False, id="two entries"),
        pytest.param(_large, {}, (), False, id="a large bundle"),
        pytest.param(
            lambda: compact(made.bundle(PAYLOAD, HOLDER, body=made.intoto)), {}, (), False, id="an entry of kind intoto"
        ),
        pytest.param(
            lambda: compact(made.bundle(PAYLOAD, HOLDER, media_type=made.BUNDLE_V01, chain=(made.FULCIO.certificate,))),
            {},
            (),
            False,
            id="a chain",
        ),
        pytest.param(lambda: USUAL, {"tlogs": []}, (), False, id="a root without logs"),
        pytest.param(lambda: USUAL, {"ctlogs": []}, (), False, id="a root without certificate logs"),
        pytest.param(lambda: USUAL, {"certificateAuthorities": []}, (), False, id="a root without authorities"),
        pytest.param(lambda: STAMPED, {"timestampAuthorities": []}, (), False, id="nobody for the time-stamp"),
        pytest.param(
            lambda: STAMPED,
            {
                "timestampAuthorities": [
                    made.trusted_authority((made.TSA.certificate, made.TSA_ROOT.certificate), end=AT)
                ]
            },
            (AT,),
            False,
            id="a time-stamp of the last moment",
        ),
    ],
)
def test_whether_it_is_sought(
    content: Callable[[], bytes], changes: dict[str, Any], times: Sequence[datetime], sought: bool
) -> None:
    assert is_sought(content(), times, **changes) is sought


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), RSA], ids=["P-384", "RSA"])
def test_it_is_not_sought_about_keys_that_it_does_not_read(key: made.Private) -> None:
    assert not opinion().is_sought(read(USUAL), signing_key(made.leaf(key).certificate), ())


def test_it_is_not_sought_about_what_came_in_no_bundle() -> None:
    assert not opinion().is_sought(replace(read(USUAL), bundle=b""), signing_key(HOLDER.certificate), ())


def test_a_root_of_a_later_version_is_one_that_it_can_use() -> None:
    assert is_sought(USUAL, mediaType="application/vnd.dev.sigstore.trustedroot.v0.2+json")


@pytest.mark.parametrize("content", [USUAL, STAMPED])
def test_it_agrees(content: bytes) -> None:
    opinion().confirm(read(content), HOLDER.certificate, SIGNED)


def test_it_agrees_about_a_plain_signature() -> None:
    opinion().confirm(read(MESSAGE), HOLDER.certificate, Signed(b"x"))
    with pytest.raises(EvidenceError, match="sigstore-python refuses the bundle"):
        opinion().confirm(read(MESSAGE), HOLDER.certificate, Signed(b"y"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda material: (replace(material, bundle=_old(False)), HOLDER), id="another shape"),
        pytest.param(lambda material: (replace(material, bundle=b"{}"), HOLDER), id="no bundle"),
        pytest.param(lambda material: (material, made.leaf()), id="another certificate"),
        pytest.param(
            lambda material: (replace(material, envelope=replace(material.envelope, payload=b"x")), HOLDER),
            id="another payload",
        ),
    ],
)
def test_it_does_not_agree(change: Callable[[Material], tuple[Material, made.Holder]]) -> None:
    material, holder = change(read(USUAL))
    with pytest.raises(EvidenceError, match="sigstore-python re"):
        opinion().confirm(material, holder.certificate, SIGNED)


def test_a_root_that_it_does_not_list() -> None:
    with pytest.raises(EvidenceError, match="sigstore-python refuses the bundle"):
        opinion(tlogs=made.trusted_root()["tlogs"][1:]).confirm(read(USUAL), HOLDER.certificate, SIGNED)


LAZY = """
import sys
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.signers import KeylessSigner, RootSource
from portcullis.limits import DEFAULT_LIMITS
def loaded(): return "sigstore.verify" in sys.modules or "pydantic" in sys.modules
first = loaded()
KeylessVerifier(signers=[], roots=[RootSource("public")], limits=DEFAULT_LIMITS)
second = loaded()
KeylessVerifier(signers=[KeylessSigner("x", "i", "x")], roots=[RootSource("public")], limits=DEFAULT_LIMITS)
print(first, second, loaded())
"""


def test_the_library_is_imported_for_keyless_signers_alone() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]
