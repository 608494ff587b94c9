"""What Rego may do here: the builtins that policies get, and no others.

An allow list, not a deny list: a builtin that a newer OPA brings is out until somebody has read what it does.
Left out are those that reach the network (``http.send``, ``net.*``; ``json.match_schema`` and
``json.verify_schema`` follow remote ``$ref``), the process (``opa.runtime``), randomness (``rand.*``,
``uuid.rfc4122``, the signing of tokens), the wall clock where it cannot be bound (``io.jwt.decode_verify``,
``crypto.x509.parse_and_verify_certificates*``), private keys, and those that only OPA's own tools need.
``time.now_ns`` stays: it is bound to the time of the decision (wrapper.py).

OPA checks this at ``opa check``, which sees the calls and the ``with`` modifiers alike (CVE-2022-36085).
``opa run`` has no such option, so it is given only the very files that were checked.
"""

from collections.abc import Mapping
from typing import Any

from portcullis.errors import EngineMalformed

ALLOWED_BUILTINS = frozenset(
    """
    abs all and any array.concat array.flatten array.reverse array.slice assign
    base64.decode base64.encode base64.is_valid base64url.decode base64url.encode base64url.encode_no_pad
    bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor
    cast_array cast_boolean cast_null cast_object cast_set cast_string ceil concat contains count
    crypto.hmac.equal crypto.hmac.md5 crypto.hmac.sha1 crypto.hmac.sha256 crypto.hmac.sha512
    crypto.md5 crypto.sha1 crypto.sha256 crypto.x509.parse_certificate_request crypto.x509.parse_certificates
    div endswith eq equal floor format_int glob.match glob.quote_meta graph.reachable graph.reachable_paths
    graphql.is_valid graphql.parse graphql.parse_and_verify graphql.parse_query graphql.parse_schema
    graphql.schema_is_valid gt gte hex.decode hex.encode indexof indexof_n
    internal.member_2 internal.member_3 internal.print internal.template_string intersection
    io.jwt.decode io.jwt.verify_eddsa io.jwt.verify_es256 io.jwt.verify_es384 io.jwt.verify_es512
    io.jwt.verify_hs256 io.jwt.verify_hs384 io.jwt.verify_hs512 io.jwt.verify_ps256 io.jwt.verify_ps384
    io.jwt.verify_ps512 io.jwt.verify_rs256 io.jwt.verify_rs384 io.jwt.verify_rs512
    is_array is_boolean is_null is_number is_object is_set is_string
    json.filter json.is_valid json.marshal json.marshal_with_options json.patch json.remove json.unmarshal
    lower lt lte max min minus mul neq numbers.range numbers.range_step
    object.filter object.get object.keys object.remove object.subset object.union object.union_n or plus print product
    re_match regex.find_all_string_submatch_n regex.find_n regex.globs_match regex.is_valid regex.match
    regex.replace regex.split regex.template_match rego.metadata.chain rego.metadata.rule rem replace round
    semver.compare semver.is_valid set_diff sort split sprintf startswith
    strings.any_prefix_match strings.any_suffix_match strings.count strings.render_template strings.replace_n
    strings.reverse strings.split_n substring sum
    time.add_date time.clock time.date time.diff time.format time.now_ns time.parse_duration_ns time.parse_ns
    time.parse_rfc3339_ns time.weekday to_number trace trim trim_left trim_prefix trim_right trim_space trim_suffix
    type_name union units.parse units.parse_bytes upper uri.is_valid uri.parse
    urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object uuid.parse
    walk yaml.is_valid yaml.marshal yaml.unmarshal
    """.split()  # noqa: SIM905 - read by people, who compare it with OPA's list
)

# Properties of the language that the analysis of needs.py knows. The keywords `and`, `or` and the new `not`
# (future.keywords) are not among them.
ALLOWED_FEATURES = frozenset({"keywords_in_refs", "rego_v1", "template_strings"})


def restricted(own: Mapping[str, Any]) -> dict[str, Any]:
    """OPA's own capabilities (``opa capabilities --current``) cut down to what is allowed here.

    Raises:
        EngineMalformed: they have not the shape that OPA documents.
    """
    try:
        return {
            "builtins": [builtin for builtin in own["builtins"] if builtin["name"] in ALLOWED_BUILTINS],
            "features": [feature for feature in own.get("features", []) if feature in ALLOWED_FEATURES],
            "future_keywords": [],
            "allow_net": [],
        }
    except (KeyError, TypeError) as error:
        raise EngineMalformed("OPA's capabilities have an unknown shape") from error


def arities(capabilities: Mapping[str, Any]) -> dict[str, int]:
    """How many arguments each builtin takes, its result not counted."""
    return {builtin["name"]: len(builtin["decl"].get("args") or ()) for builtin in capabilities["builtins"]}
