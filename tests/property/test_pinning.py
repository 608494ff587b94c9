"""Any object of any kind: the patch fits, nothing but images by tags and the annotation is changed, and pinning what is
pinned changes nothing."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.jsonpatch import applied
from fakes.reviews import request, update
from portcullis.admission.pinning import ANNOTATION, Pins, find, patch
from portcullis.admission.workloads import POD_SPEC_PATHS, WorkloadReader
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.request import AdmissionRequest

JSON = dict[str, Any]
READER = WorkloadReader(limits=DEFAULT_LIMITS)
DIGESTS = [f"sha256:{number * 64}" for number in "1234"]

names = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)
tags = st.sampled_from(["web:1", "web:2", "web", "localhost:5000/a/b:c_d.e-f", "[::1]:5000/x"])
texts = st.one_of(
    tags,
    st.builds("{}@{}".format, tags, st.sampled_from(DIGESTS)),
    st.text(max_size=8),
    st.just(""),
)
annotations = st.one_of(
    st.none(),
    st.dictionaries(
        st.one_of(st.sampled_from([ANNOTATION, "a/b~c", ""]), st.text(max_size=5)),
        st.one_of(st.text(max_size=20), st.builds(json.dumps, st.dictionaries(names, tags, max_size=3))),
        max_size=3,
    ),
)


@st.composite
def pod_specs(draw: st.DrawFn) -> JSON:
    """Every place of an image in it has a name of its own, as the API server demands."""
    taken = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    spec: JSON = {"containers": [], "dnsPolicy": draw(st.text(max_size=3))}
    for name in taken:
        at = draw(st.sampled_from(["containers", "initContainers", "ephemeralContainers", "volumes", "others"]))
        text = draw(texts)
        if at == "others":
            spec.setdefault("volumes", []).append({"name": name, "emptyDir": {}})
        elif at == "volumes":
            spec.setdefault(at, []).append({"name": name, "image": {"reference": text, "pullPolicy": "Always"}})
        else:
            spec.setdefault(at, []).append({"name": name, "image": text, "args": ["web:1"]})
    return spec


@st.composite
def objects(draw: st.DrawFn, kind: tuple[str, str] | None = None) -> JSON:
    group, name = kind or draw(st.sampled_from(sorted(POD_SPEC_PATHS)))
    *above, last = POD_SPEC_PATHS[group, name]
    holder: JSON = {last: draw(pod_specs())}
    metadata = draw(st.one_of(st.none(), st.builds(lambda found: {"annotations": found, "labels": {}}, annotations)))
    if metadata is not None or name == "Pod":
        holder["metadata"] = metadata
    made = holder
    for part in reversed(above):
        made = {part: made, "web:1": "web:1"}
    if above:
        made["metadata"] = {"name": "x", "annotations": {ANNOTATION: "of the owner"}}
    return {"kind": name, "apiVersion": f"{group}/v1" if group else "v1", **made}


def pinned(asked: AdmissionRequest, digests: Mapping[str, str]) -> JSON:
    """As the API server has it afterwards."""
    pins = find(asked, READER, owners=True)
    made: JSON = applied(asked.object, patch(pins, {text: f"{text}@{digests[text]}" for text in pins.texts}))
    return made


class Named(dict[str, str]):
    """What a registry says: one digest for each text, none of which is looked at here."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __missing__(self, text: str) -> str:
        return DIGESTS[(len(text) + self.number) % len(DIGESTS)]


def holder_of(made: JSON) -> Any:
    """The object in it that has metadata and spec of a pod."""
    group = made["apiVersion"].rpartition("/")[0]
    found: Any = made
    for part in POD_SPEC_PATHS[group, made["kind"]][:-1]:
        found = found[part]
    return found


def images(made: JSON) -> dict[str, tuple[JSON, str]]:
    """Where each image stands: the object and the key in it, by the name of the annotation."""
    spec = holder_of(made)["spec"]
    found = {
        one["name"]: (one, "image")
        for key in ("containers", "initContainers", "ephemeralContainers")
        for one in spec.get(key, ())
    }
    volumes = {
        f"volumes/{one['name']}": (one["image"], "reference") for one in spec.get("volumes", ()) if "image" in one
    }
    return found | volumes


def without(made: JSON) -> JSON:
    """The object without its images and without the annotation; what holds nothing else is not there."""
    made = copy.deepcopy(made)
    for place, key in images(made).values():
        del place[key]
    holder = holder_of(made)
    metadata = {key: value for key, value in (holder.get("metadata") or {}).items() if value is not None}
    kept = {key: value for key, value in metadata.get("annotations", {}).items() if key != ANNOTATION}
    holder["metadata"] = {**metadata, "annotations": kept}
    return made


@settings(max_examples=40, deadline=None)
@given(objects())
def test_only_images_by_tags_change_and_to_pin_twice_is_to_pin_once(made: JSON) -> None:
    asked = request(made)
    before = copy.deepcopy(made)
    after = pinned(asked, Named(0))
    assert made == before
    assert without(after) == without(before)
    told = json.loads(holder_of(after)["metadata"]["annotations"][ANNOTATION]) if after != before else {}
    old = images(before)
    for key, (place, field) in images(after).items():
        was, now = old[key][0][old[key][1]], place[field]
        if was and "@" not in was:
            assert now == f"{was}@{Named(0)[was]}"
            assert told[key] == was
        else:
            assert now == was
    # And whatever the annotation says, it is so.
    now = {key: place[field] for key, (place, field) in images(after).items()}
    assert all(now[key].startswith(f"{was}@sha256:") for key, was in told.items())
    assert find(request(after), READER, owners=True) == Pins()


@settings(max_examples=40, deadline=None)
@given(objects(), st.integers(1, 3))
def test_to_apply_the_same_again_changes_nothing(made: JSON, number: int) -> None:
    """By whatever digests the tags have now: replaced as a whole, and by its images alone."""
    stored = pinned(request(made), Named(0))
    for asked in (update(stored, made), update(stored, merged(stored, made))):
        assert find(asked, READER, owners=True).texts == ()
        again = pinned(asked, Named(number))
        assert [place[key] for place, key in images(again).values()] == [
            place[key] for place, key in images(stored).values()
        ]
    assert pinned(update(stored, merged(stored, made)), Named(number)) == stored


def merged(stored: JSON, wanted: JSON) -> JSON:
    """As a strategic merge patch leaves it: what was stored, with the images that are wanted."""
    made, asked_for = copy.deepcopy(stored), images(wanted)
    for key, (place, field) in images(made).items():
        place[field] = asked_for[key][0][asked_for[key][1]]
    return made


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_an_update_leaves_alone_what_it_does_not_change(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(POD_SPEC_PATHS)))
    old, new = data.draw(objects(kind)), data.draw(objects(kind))
    after = images(pinned(update(old, new), Named(0)))
    before = {key: place[field] for key, (place, field) in images(old).items()}
    for key, (place, field) in images(new).items():
        now = after[key][0][after[key][1]]
        if place[field] == before.get(key) or "@" in place[field]:
            assert now == place[field]
        elif place[field]:
            assert now.startswith(f"{place[field]}@sha256:")
