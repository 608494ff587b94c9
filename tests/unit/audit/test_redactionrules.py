"""Rules of the operator, and what the record says of redaction."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fakes.reviews import pod, request, update
from portcullis.audit.redact import REDACTED, Redacted, Redactor
from portcullis.audit.redactionrules import RedactionRules, parse_path, parse_pattern
from portcullis.errors import RedactionError
from portcullis.limits import Limits
from portcullis.model.place import NamespaceFacts
from portcullis.model.request import AdmissionRequest, UserInfo

TOKEN = "ghp_" + "Ab1" * 12


def redacted(asked: AdmissionRequest, rules: RedactionRules = RedactionRules()) -> Redacted:  # noqa: B008
    redactor = Redactor(rules)
    made = redactor(asked)
    assert redactor(made.request).request == made.request
    return made


def custom(**spec: Any) -> AdmissionRequest:
    return request({"kind": "App", "apiVersion": "example.test/v1", "spec": spec})


def spec_of(asked: AdmissionRequest, rules: RedactionRules = RedactionRules()) -> Any:  # noqa: B008
    made = redacted(asked, rules).request
    assert made.object is not None
    return made.object["spec"]


def test_by_form_in_every_part_of_a_request() -> None:
    judged = pod(
        containers=[{"name": "a", "image": "x", "args": [TOKEN], "livenessProbe": {"exec": {"command": [TOKEN]}}}]
    )
    judged["metadata"] |= {"annotations": {"a": TOKEN}, "labels": {"b": TOKEN}}
    asked = update(
        judged, judged, options={"x": TOKEN}, userInfo={"username": TOKEN, "groups": [TOKEN], "extra": {"k": [TOKEN]}}
    )
    asked = replace(asked, name=TOKEN, namespace=TOKEN, raw={**asked.raw, "name": TOKEN, "namespace": TOKEN})
    made = redacted(asked)
    assert TOKEN not in repr((made.request, made.request.raw, made.masked))
    assert made.request.user == UserInfo(REDACTED, groups=(REDACTED,))
    assert made.places == 14
    assert "/request/object/metadata/annotations/a" in made.masked
    assert "/request/oldObject/spec/containers/0/livenessProbe/exec/command/0" in made.masked


def test_by_name() -> None:
    spec = spec_of(
        custom(
            password="hunter2",
            pin={"password": 12345678, "token": 12345678},
            clientSecret="$(SECRET)",
            tokens="kept",
            secretName="kept",
            extra={"x.example/token": ["hunter2", 5]},
            httpHeaders=[{"name": "Authorization", "value": "hunter2"}, {"name": "Host", "value": "kept"}],
            params=[{"name": "api-token", "value": "hunter2"}, {"name": "use-token", "value": "true"}],
            nothing={"password": "", "token": None, "apiKey": {"from": "kept"}},
        )
    )
    assert spec == {
        "password": REDACTED,
        "pin": {"password": REDACTED, "token": 12345678},
        "clientSecret": "$(SECRET)",
        "tokens": "kept",
        "secretName": "kept",
        "extra": {"x.example/token": [REDACTED, 5]},
        "httpHeaders": [{"name": "Authorization", "value": REDACTED}, {"name": "Host", "value": "kept"}],
        "params": [{"name": "api-token", "value": REDACTED}, {"name": "use-token", "value": "true"}],
        "nothing": {"password": "", "token": None, "apiKey": {"from": "kept"}},
    }


def test_docker_configs() -> None:
    spec = spec_of(
        custom(auths={"r.example": {"auth": "dTpw", "email": "kept", "identitytoken": "hunter2"}}, auth="kept")
    )
    assert spec == {
        "auths": {"r.example": {"auth": REDACTED, "email": "kept", "identitytoken": REDACTED}},
        "auth": "kept",
    }


def test_a_key_that_is_a_secret() -> None:
    other = TOKEN.replace("A", "B")
    made = redacted(custom(deep={TOKEN: 1, other: {TOKEN: "x"}, "kept": 2}))
    assert made.request.object is not None
    assert made.request.object["spec"]["deep"] == {REDACTED: 1, f"{REDACTED}'": {REDACTED: "x"}, "kept": 2}
    assert TOKEN not in repr(made)


def test_config_maps() -> None:
    data = {"app.yaml": f"level: info\ntoken: hunter2\nnote: {TOKEN}\n", "plain": "kept"}
    made = redacted(
        request({"kind": "ConfigMap", "apiVersion": "v1", "data": data, "binaryData": {"a": "aHVudGVyMg=="}})
    )
    assert made.request.object is not None
    assert made.request.object["data"] == {
        "app.yaml": f"level: info\ntoken: {REDACTED}\nnote: {REDACTED}\n",
        "plain": "kept",
    }
    assert made.request.object["binaryData"] == {"a": REDACTED}


def test_images_never_change() -> None:
    odd = f"r.example/{TOKEN}:{TOKEN}"
    volumes = [{"name": "v", "image": {"reference": odd}}]
    judged = pod(containers=[{"name": "a", "image": odd}], volumes=volumes)
    rules = RedactionRules(
        patterns=(parse_pattern("all", "r.example"),),
        paths=tuple(map(parse_path, ("object.spec.containers[*].image", "object.spec.volumes[*].image.*"))),
    )
    made = redacted(request(judged), rules).request
    assert made.object == judged
    assert spec_of(custom(image=TOKEN, volumes=[{"image": TOKEN}])) == {
        "image": REDACTED,
        "volumes": [{"image": REDACTED}],
    }


def test_own_rules() -> None:
    judged = {
        "kind": "App",
        "apiVersion": "example.test/v1",
        "metadata": {"annotations": {"vault.example/a": "x", "note": "kept"}, "labels": {"team": "x", "app": "kept"}},
        "spec": {
            "sources": [{"auth": "x", "url": "kept"}, {"auth": {"deep": 1}}, "odd"],
            "odd.key": {"a/b": "x"},
            "args": ["--acme=ACME-0123", "ACME-0123", "kept"],
            "text": "one\nACME-4567 in it\nACME_KEY=ACME-89ab\ntwo",
            "template": {"metadata": {"labels": {"team": "x"}}},
            "labels": {"team": "kept"},
        },
    }
    rules = RedactionRules(
        annotations=("vault.example/*",),
        labels=("te?m",),
        paths=tuple(
            map(parse_path, ("object.spec.sources[*].auth", 'object.spec["odd.key"].*', "object.spec.none[3].x"))
        ),
        patterns=(parse_pattern("acme", "ACME-[0-9a-f]{4}"),),
    )
    made = redacted(request(judged), rules)
    assert made.request.object == {
        "kind": "App",
        "apiVersion": "example.test/v1",
        "metadata": {
            "annotations": {"vault.example/a": REDACTED, "note": "kept"},
            "labels": {"team": REDACTED, "app": "kept"},
        },
        "spec": {
            "sources": [{"auth": REDACTED, "url": "kept"}, {"auth": REDACTED}, "odd"],
            "odd.key": {"a/b": REDACTED},
            "args": [f"--acme={REDACTED}", REDACTED, "kept"],
            "text": f"one\n{REDACTED}\nACME_KEY={REDACTED}\ntwo",
            "template": {"metadata": {"labels": {"team": REDACTED}}},
            "labels": {"team": "kept"},
        },
    }
    assert "/request/object/spec/odd.key/a~1b" in made.masked
    assert Redactor(rules).text("x ACME-0123") == REDACTED


def test_many_patterns() -> None:
    """Some of which do not go into one expression with others: one ends in a comment, one sets flags."""
    expressions = ["(?x) one[0-9] # (", "(?i)TWO[0-9]", *(f"p{number}-[0-9a-f]{{1,900}}x" for number in range(98))]
    rules = RedactionRules(patterns=tuple(parse_pattern(f"n{at}", text) for at, text in enumerate(expressions)))
    assert spec_of(custom(a="one1", b="two2", c="ONE1", d="p97-0fx", e="--a=p5-1x"), rules) == {
        "a": REDACTED,
        "b": REDACTED,
        "c": "ONE1",
        "d": REDACTED,
        "e": f"--a={REDACTED}",
    }
    assert spec_of(custom(b="two2", c="ONE1"), RedactionRules(patterns=rules.patterns[1:])) == {
        "b": REDACTED,
        "c": "ONE1",
    }


def test_what_is_kept() -> None:
    keep = (parse_path("object.spec.kept"), parse_path("object.spec.list[*].token"))
    spec = spec_of(
        custom(
            kept={"password": "x1y2", "a": [TOKEN]},
            list=[{"token": "hunter2", "a": TOKEN}],
            env=[{"name": "A", "value": "b"}],
        ),
        RedactionRules(keep=(*keep, parse_path("object.spec.env"))),
    )
    assert spec == {
        "kept": {"password": "x1y2", "a": [TOKEN]},
        "list": [{"token": "hunter2", "a": REDACTED}],
        "env": [{"name": "A", "value": REDACTED}],
    }


@pytest.mark.parametrize("path", ["", ".a", "a..b", "a[", "a[x]", 'a["]', "a[1234567]", "a" + ".b" * 40, "a*"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|parts"):
        parse_path(path)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [("x" * 1001, "1001 characters"), ("a*", "empty text"), ("(?<=a)b", "look-around"), ("[", "unclosed")],
)
def test_patterns_that_are_none(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_pattern("p", expression)


def test_labels_and_annotations_of_a_namespace() -> None:
    facts = NamespaceFacts("shop", {"team": "a"}, {"note": TOKEN, "kept": "x"})
    made = Redactor(RedactionRules(labels=("team",))).namespace(facts)
    assert made == NamespaceFacts("shop", {"team": REDACTED}, {"note": REDACTED, "kept": "x"})
    assert Redactor().namespace(None) is None


def test_masked_places_are_bounded_and_counted() -> None:
    redactor = Redactor(limits=Limits(masked_paths=3))
    made = redactor(custom(many=[TOKEN] * 10, env=[{"name": str(number), "value": "x"} for number in range(10)]))
    assert made.places == 11
    assert len(made.masked) == 3
    assert made.masked[0] == "/request/object/spec/env"


def test_too_much_to_look_at() -> None:
    asked = custom(many=["password=hunter2"] * 100)
    with pytest.raises(RedactionError, match=r"limits\.suspectChars"):
        Redactor(limits=Limits(suspect_chars=1000))(asked)


def test_a_fault_tells_nothing_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    asked = custom(**{TOKEN: {TOKEN}})
    redactor = Redactor()
    with pytest.raises(RedactionError, match=r"\(TypeError\)") as raised:
        redactor(asked)
    assert TOKEN not in str(raised.value) + caplog.text + json.dumps(
        [str(record.__dict__) for record in caplog.records]
    )
    bare = redactor.bare(replace(asked, name=TOKEN)).request
    assert (bare.name, bare.object, bare.old_object, bare.raw) == (REDACTED, None, None, {})
