"""Laws of redaction, over JSON of any shape."""

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fakes.reviews import pod, request
from portcullis.admission.workloads import WorkloadReader
from portcullis.audit.redact import LAST_APPLIED, Redactor
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest


def redact(asked: AdmissionRequest) -> AdmissionRequest:
    return Redactor()(asked).request


SECRET = "s3cret"

keys = st.sampled_from(
    [
        "env",
        "value",
        "name",
        "metadata",
        "managedFields",
        "annotations",
        LAST_APPLIED,
        "data",
        "stringData",
        "kind",
        "image",
    ]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from(["Secret", "v1", "NAME=x", "=", ""]), st.text(max_size=5)
)
trees = st.recursive(
    scalars,
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.dictionaries(keys, children, max_size=4),
    ),
    max_leaves=25,
)
containers = st.fixed_dictionaries(
    {"name": st.text(max_size=4), "image": st.text(max_size=8)},
    optional={"env": trees, "data": trees, "metadata": trees, "args": trees, "kind": st.just("Secret")},
)
pods = st.builds(
    lambda lists, metadata, volumes: {
        **pod(containers=lists[0], initContainers=lists[1], ephemeralContainers=lists[2], volumes=volumes),
        "metadata": {"name": "web", "labels": {}, **metadata},
    },
    st.tuples(*[st.lists(containers, max_size=3)] * 3),
    st.dictionaries(st.sampled_from(["managedFields", "finalizers"]), trees, max_size=2),
    st.lists(st.fixed_dictionaries({"name": st.just("v"), "image": st.builds(dict, reference=st.text(max_size=8))})),
)


def custom(tree: Any) -> dict[str, Any]:
    return {"kind": "App", "apiVersion": "example.test/v1", "spec": tree}


@given(trees)
def test_redacting_twice_is_redacting_once_and_the_original_stays(tree: Any) -> None:
    before = copy.deepcopy(tree)
    made = redact(request(custom(tree)))
    assert tree == before
    assert redact(made) == made
    json.dumps(made.raw)


@given(pods)
def test_images_never_change(judged: dict[str, Any]) -> None:
    reader = WorkloadReader(limits=DEFAULT_LIMITS)
    asked = request(judged)
    before, after = reader.read(asked), reader.read(redact(asked))
    assert [(one.kind, one.name, one.path, one.image) for one in after.containers] == [
        (one.kind, one.name, one.path, one.image) for one in before.containers
    ]
    assert after.labels == before.labels


@given(
    st.recursive(
        st.just({"env": [{"name": "A", "value": SECRET}]}), lambda inner: st.dictionaries(keys, inner) | st.lists(inner)
    )
)
def test_no_environment_value_is_left_at_any_depth(tree: Any) -> None:
    assert SECRET not in json.dumps(redact(request(custom(tree))).raw)


TOKENS = (
    "ghp_" + "Ab1" * 12,
    "glpat-" + "x-Y_" * 6,
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-12345678901-abcdefgh",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
    "sk_live_" + "f1" * 12,
)
around = st.text(alphabet=" \n\"'\\=:;,&@/-$[]{}<>.é", max_size=6)
planted = st.builds(lambda before, token, after: before + token + after, around, st.sampled_from(TOKENS), around)
any_key = st.one_of(keys, planted, st.text(max_size=4))
sown = st.recursive(
    st.one_of(planted, scalars),
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.dictionaries(any_key, children, max_size=4),
        st.fixed_dictionaries({"containers": st.lists(st.fixed_dictionaries({"args": children}), max_size=2)}),
    ),
    max_leaves=20,
)


@given(sown, st.lists(planted, max_size=2), planted)
def test_no_planted_token_is_left_in_any_string_of_any_depth(tree: Any, extra: list[str], name: str) -> None:
    user = {"username": name, "groups": extra, "extra": {"k": extra}}
    asked = request(custom(tree), oldObject=custom([tree]), options={"x": tree}, userInfo=user, name=name)
    redactor = Redactor()
    made = redactor(asked)
    text = json.dumps(
        (made.request.raw, made.request.name, made.request.user.username, made.masked), ensure_ascii=False
    )
    assert not [token for token in TOKENS if token in text]
    assert redactor(made.request).request == made.request


@given(st.text(alphabet=st.sampled_from("pasword=tken :\"'\\-$/@.[]\n"), max_size=60))
def test_text_of_many_beginnings_comes_to_rest(text: str) -> None:
    made = Redactor().text(text)
    assert Redactor().text(made) == made
