"""What Rego may do: an allow list, cut out of OPA's own capabilities."""

import json
from pathlib import Path

import pytest

from portcullis.errors import EngineMalformed
from portcullis.policy.capabilities import ALLOWED_BUILTINS, arities, restricted
from portcullis.policy.process import run_opa

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

OUT = {
    "crypto.parse_private_keys",
    "crypto.x509.parse_and_verify_certificates",
    "crypto.x509.parse_and_verify_certificates_with_options",
    "crypto.x509.parse_keypair",
    "crypto.x509.parse_rsa_private_key",
    "http.send",
    "internal.test_case",
    "io.jwt.decode_verify",
    "io.jwt.encode_sign",
    "io.jwt.encode_sign_raw",
    "json.match_schema",
    "json.verify_schema",
    "net.cidr_contains",
    "net.cidr_contains_matches",
    "net.cidr_expand",
    "net.cidr_intersects",
    "net.cidr_is_valid",
    "net.cidr_merge",
    "net.cidr_overlap",
    "net.lookup_ip_addr",
    "opa.runtime",
    "providers.aws.sign_req",
    "rand.intn",
    "rego.parse_module",
    "uuid.rfc4122",
}


async def test_what_this_OPA_has_and_policies_get(opa_binary: Path) -> None:  # noqa: N802 - its name
    done = await run_opa(opa_binary, ("capabilities", "--current"), seconds=30, output_bytes=4_000_000)
    own = json.loads(done.stdout)
    names = {builtin["name"] for builtin in own["builtins"]}
    assert names - ALLOWED_BUILTINS == OUT
    assert ALLOWED_BUILTINS - names == set(), "the list names what this OPA does not have"
    nondeterministic = {builtin["name"] for builtin in own["builtins"] if builtin.get("nondeterministic")}
    assert nondeterministic & ALLOWED_BUILTINS == {"time.now_ns"}
    cut = restricted(own)
    assert {builtin["name"] for builtin in cut["builtins"]} == ALLOWED_BUILTINS
    assert (cut["allow_net"], cut["future_keywords"]) == ([], [])
    assert arities(cut)["object.get"] == 3
    assert arities(cut)["time.now_ns"] == 0


def test_what_a_later_OPA_brings_is_out() -> None:  # noqa: N802 - its name
    count = {"name": "count", "decl": {"args": [{}]}}
    later = {"builtins": [count, {"name": "net.teleport", "decl": {}}], "features": ["magic", "rego_v1"]}
    assert restricted(later) == {
        "builtins": [count],
        "features": ["rego_v1"],
        "future_keywords": [],
        "allow_net": [],
    }


@pytest.mark.parametrize("own", [{}, {"builtins": None}, {"builtins": [{}]}, {"builtins": ["count"]}])
def test_capabilities_of_another_shape(own: dict[str, object]) -> None:
    with pytest.raises(EngineMalformed):
        restricted(own)
