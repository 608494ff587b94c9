"""Which user a container gets. Every row of "root" that is wrong would let root in."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.layerfacts import EMPTY_CONFIG
from portcullis.inspection.config import container_user, image_user
from portcullis.model.image import ContainerUser, ImageConfig, ImageUser, UserSource
from portcullis.model.workload import Container, ContainerKind

NUMERIC, UNSET, UNRESOLVED = UserSource.NUMERIC, UserSource.UNSET, UserSource.UNRESOLVED
IMAGE, OF_CONTAINER, OF_POD = UserSource.IMAGE, UserSource.CONTAINER, UserSource.POD


def config(user: str) -> ImageConfig:
    return replace(EMPTY_CONFIG, user=user)


@pytest.mark.parametrize(
    ("raw", "uid", "gid", "name", "source", "root"),
    [
        ("", 0, 0, "", UNSET, True),
        ("0", 0, None, "", NUMERIC, True),
        ("0:0", 0, 0, "", NUMERIC, True),
        ("0:1000", 0, 1000, "", NUMERIC, True),
        ("00", 0, None, "", NUMERIC, True),
        ("+0", 0, None, "", NUMERIC, True),
        ("-0", 0, None, "", NUMERIC, True),
        ("+00000000000000000000000000000", 0, None, "", NUMERIC, True),
        ("0:a:b", 0, None, "", NUMERIC, True),
        ("root", 0, None, "root", UNRESOLVED, True),
        ("root:root", 0, 0, "root", UNRESOLVED, True),
        ("root:app", 0, None, "root", UNRESOLVED, True),
        (":1000", 0, 1000, "", UNSET, True),
        (":", 0, None, "", UNSET, True),
        ("1000", 1000, None, "", NUMERIC, False),
        ("+1000", 1000, None, "", NUMERIC, False),
        ("0001000", 1000, None, "", NUMERIC, False),
        ("1000:1000", 1000, 1000, "", NUMERIC, False),
        ("1000:0", 1000, 0, "", NUMERIC, False),
        ("1000:root", 1000, 0, "", NUMERIC, False),
        ("1000:app", 1000, None, "", NUMERIC, False),
        ("1000:", 1000, None, "", NUMERIC, False),
        ("2147483647", 2**31 - 1, None, "", NUMERIC, False),
        ("2147483648", None, None, "2147483648", UNRESOLVED, None),
        ("4294967296", None, None, "4294967296", UNRESOLVED, None),
        ("18446744073709551616", None, None, "18446744073709551616", UNRESOLVED, None),
        ("9" * 10_000, None, None, "9" * 10_000, UNRESOLVED, None),
        ("-1", None, None, "-1", UNRESOLVED, None),
        ("--1", None, None, "--1", UNRESOLVED, None),
        ("+", None, None, "+", UNRESOLVED, None),
        ("1e3", None, None, "1e3", UNRESOLVED, None),
        ("0x0", None, None, "0x0", UNRESOLVED, None),
        ("1_0", None, None, "1_0", UNRESOLVED, None),
        ("1000.0", None, None, "1000.0", UNRESOLVED, None),
        ("\u0661", None, None, "\u0661", UNRESOLVED, None),
        ("1000\n", None, None, "1000\n", UNRESOLVED, None),
        (" 1000", None, None, " 1000", UNRESOLVED, None),
        (" 0", None, None, " 0", UNRESOLVED, None),
        (" ", None, None, " ", UNRESOLVED, None),
        ("1000:1000:x", None, None, "1000", UNRESOLVED, None),
        ("app", None, None, "app", UNRESOLVED, None),
        ("app:app", None, None, "app", UNRESOLVED, None),
        ("app:1000", None, 1000, "app", UNRESOLVED, None),
        ("app:-1", None, None, "app", UNRESOLVED, None),
        ("ROOT", None, None, "ROOT", UNRESOLVED, None),
        ("nonroot", None, None, "nonroot", UNRESOLVED, None),
        ("65532", 65532, None, "", NUMERIC, False),
    ],
)
def test_user_of_an_image(
    raw: str, uid: int | None, gid: int | None, name: str, source: UserSource, root: bool | None
) -> None:
    assert image_user(config(raw)) == ImageUser(raw=raw, uid=uid, gid=gid, name=name, source=source, root=root)


@given(st.text(max_size=12) | st.from_regex(r"[+-]?[0-9]{1,12}(:[0-9a-z]{0,4})?", fullmatch=True))
def test_only_a_number_above_zero_is_not_root(raw: str) -> None:
    user = image_user(config(raw))
    if user.root is False:
        assert user.uid is not None
        assert 0 < user.uid < 2**31
        assert int(raw.partition(":")[0]) == user.uid


# -- containers ----------------------------------------------------------------------------------------------


def container(context: object = None, kind: ContainerKind = ContainerKind.CONTAINER) -> Container:
    spec: dict[str, Any] = {"name": "a", "image": "x"}
    if context is not None:
        spec["securityContext"] = context
    return Container(name="a", kind=kind, path="spec.containers[0]", image="x", spec=spec)


def user_of(
    own: object = None, pod: object = None, images: tuple[str, ...] | None = ("1000:1000",), **options: Any
) -> ContainerUser:
    users = None if images is None else [image_user(config(raw)) for raw in images]
    return container_user(container(own, **options), {} if pod is None else {"securityContext": pod}, users)


@pytest.mark.parametrize(
    ("own", "pod", "images", "uid", "gid", "source", "root"),
    [
        # the image alone
        (None, None, ("1000:2000",), 1000, 2000, IMAGE, False),
        ({}, {}, ("1000",), 1000, None, IMAGE, False),
        (None, None, ("0",), 0, None, IMAGE, True),
        (None, None, ("",), 0, 0, UNSET, True),
        (None, None, ("root",), 0, None, UNRESOLVED, True),
        (None, None, ("app",), None, None, UNRESOLVED, None),
        (None, None, None, None, None, UNRESOLVED, None),
        (None, None, (), None, None, UNRESOLVED, None),
        # the pod over the image
        (None, {"runAsUser": 5}, ("0",), 5, None, OF_POD, False),
        (None, {"runAsUser": 0}, ("1000",), 0, None, OF_POD, True),
        (None, {"runAsUser": 5, "runAsGroup": 6}, None, 5, 6, OF_POD, False),
        (None, {"runAsGroup": 6}, ("1000:2000",), 1000, 6, IMAGE, False),
        # the container over the pod
        ({"runAsUser": 7}, {"runAsUser": 0}, ("0",), 7, None, OF_CONTAINER, False),
        ({"runAsUser": 0}, {"runAsUser": 5}, ("1000",), 0, None, OF_CONTAINER, True),
        ({"runAsUser": 7}, {"runAsGroup": 6}, ("1:1",), 7, 6, OF_CONTAINER, False),
        ({"runAsGroup": 0}, {"runAsUser": 5, "runAsGroup": 6}, ("1:1",), 5, 0, OF_POD, False),
        ({"runAsUser": None}, {"runAsUser": 5}, ("0",), 5, None, OF_POD, False),
        ({"runAsUser": 2**31 - 1}, None, None, 2**31 - 1, None, OF_CONTAINER, False),
        # Windows has no uid
        ({"windowsOptions": {"runAsUserName": "ContainerUser"}}, None, ("",), 0, 0, UNSET, True),
        # wrong types are not skipped
        ({"runAsUser": "1000"}, {"runAsUser": 5}, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": True}, None, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": False}, None, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": 1000.0}, None, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": [1000]}, None, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": -1}, None, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": 2**31}, None, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": 2**32}, None, ("1000",), None, None, UNRESOLVED, None),
        (None, {"runAsUser": "5"}, ("1000",), None, None, UNRESOLVED, None),
        ([], {"runAsUser": 5}, ("1000",), None, None, UNRESOLVED, None),
        ("x", None, ("1000",), None, None, UNRESOLVED, None),
        (None, 5, ("1000",), None, None, UNRESOLVED, None),
        (5, None, ("1000",), None, None, UNRESOLVED, None),
        ({"runAsUser": 7}, "x", ("0",), 7, None, OF_CONTAINER, False),
        ({"runAsUser": 7, "runAsGroup": "0"}, None, None, 7, None, OF_CONTAINER, False),
        (None, {"runAsGroup": True}, ("1000:2000",), 1000, None, IMAGE, False),
    ],
)
def test_user_of_a_container(
    own: object,
    pod: object,
    images: tuple[str, ...] | None,
    uid: int | None,
    gid: int | None,
    source: UserSource,
    root: bool | None,
) -> None:
    user = user_of(own, pod, images)
    assert (user.uid, user.gid, user.source, user.root) == (uid, gid, source, root)


@pytest.mark.parametrize(
    ("images", "uid", "gid", "name", "source", "root"),
    [
        (("1000:1", "1000:1"), 1000, 1, "", IMAGE, False),
        (("1000:1", "1000:2"), 1000, None, "", IMAGE, False),
        (("1000", "1001"), None, None, "", IMAGE, False),
        (("1000", "0"), None, None, "", IMAGE, True),
        (("1000", ""), None, None, "", IMAGE, True),
        (("1000", "app"), None, None, "", UNRESOLVED, None),
        (("app", "root"), None, None, "", UNRESOLVED, True),
        (("app", "app"), None, None, "app", UNRESOLVED, None),
        (("app", "0", "1000"), None, None, "", UNRESOLVED, True),
        (("", ""), 0, 0, "", UNSET, True),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_platforms_are_merged_for_the_worst(
    images: tuple[str, ...],
    uid: int | None,
    gid: int | None,
    name: str,
    source: UserSource,
    root: bool | None,
    turned: bool,
) -> None:
    user = user_of(images=images[::-1] if turned else images)
    assert (user.uid, user.gid, user.name, user.source, user.root) == (uid, gid, name, source, root)


@pytest.mark.parametrize(
    ("own", "pod", "expected"),
    [
        (None, None, None),
        ({}, {"runAsNonRoot": True}, True),
        ({"runAsNonRoot": False}, {"runAsNonRoot": True}, False),
        ({"runAsNonRoot": True}, {"runAsNonRoot": False}, True),
        ({"runAsNonRoot": "true"}, {"runAsNonRoot": True}, None),
        ({"runAsNonRoot": 1}, None, None),
        ([], {"runAsNonRoot": True}, None),
        (True, {"runAsNonRoot": True}, None),
    ],
)
def test_run_as_non_root_is_reported_and_decides_nothing(own: object, pod: object, expected: bool | None) -> None:
    for images, root in ((("0",), True), (("app",), None)):
        user = user_of(own, pod, images)
        assert user.run_as_non_root is expected
        assert user.root is (None if own in ([], True) else root)


def test_an_image_volume_runs_nothing() -> None:
    for images in (("0",), None):
        user = user_of(None, {"runAsUser": 0}, images, kind=ContainerKind.VOLUME)
        assert user == ContainerUser(uid=None, gid=None, name="", source=UNSET, root=False, run_as_non_root=None)


@pytest.mark.parametrize("kind", [ContainerKind.INIT, ContainerKind.EPHEMERAL])
def test_other_containers_are_containers(kind: ContainerKind) -> None:
    assert user_of(images=("0",), kind=kind).root is True
