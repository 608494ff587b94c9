"""Which children of an index are judged: all that a node could choose."""

import pytest

from fakes.registry import AMD64, ARM64, MANIFEST, sha256
from portcullis.errors import Malformed, NotFound
from portcullis.model.image import Descriptor, Platform
from portcullis.registry.platforms import candidates, may_lead, may_run

ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}


def child(platform: str, name: str = "", media_type: str = MANIFEST, **annotations: str) -> Descriptor:
    """``platform`` as os/architecture[/variant]; "" for none."""
    parsed = Platform(*platform.split("/")) if platform else None
    return Descriptor(media_type, sha256((platform + name).encode()), 1, "", parsed, annotations)


@pytest.mark.parametrize(
    ("one", "node", "may"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("windows/amd64", "linux/amd64", False),
        ("linux/x86_64", "linux/amd64", True),
        ("Linux/AMD64", "linux/amd64", True),
        ("linux/aarch64", "linux/arm64", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64/8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/amd64/v3", "linux/amd64", True),
        ("linux/amd64/v3", "linux/amd64/v2", False),
        ("linux/amd64/v2", "linux/amd64/v3", True),
        ("linux/arm/v6", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/armel", "linux/arm/v6", True),
        ("linux/arm/odd", "linux/arm/v5", True),
        ("unknown/unknown", "linux/amd64", False),
        ("/amd64", "linux/amd64", True),  # containerd takes no system for the node's own
        ("/amd64", "windows/amd64", True),
        ("/arm64", "linux/amd64", False),
    ],
)
def test_what_may_run_where(one: str, node: str, may: bool) -> None:
    assert may_run(Platform(*one.split("/")), Platform(*node.split("/"))) is may


@pytest.mark.parametrize(
    ("children", "chosen"),
    [
        (["linux/amd64", "linux/arm64"], [0, 1]),
        (["linux/arm64", "linux/s390x", "linux/amd64"], [2, 0]),
        (["linux/amd64", "unknown/unknown"], [0]),
        (["linux/amd64", "linux/amd64/v3", "linux/arm64"], [0, 1, 2]),
        (["linux/amd64", ""], [0, 1]),
        (["linux/amd64", "linux/arm64", ""], [0, 1]),
        (["", "linux/s390x"], [0]),
        (["/amd64", "linux/amd64", "linux/arm64"], [0, 1, 2]),
        (["linux/386", "linux/arm64"], [0, 1]),
        (["linux/amd64", "linux/386", "linux/arm/v7", "linux/arm64"], [0, 3]),
        (["linux/amd64", "linux/arm/v6", "linux/arm/v7"], [0, 1, 2]),
        (["linux/amd64", "linux/arm/v7", ""], [0, 1, 2]),
    ],
)
def test_candidates(children: list[str], chosen: list[int]) -> None:
    listed = [child(platform) for platform in children]
    assert candidates(listed, (AMD64, ARM64), "x") == tuple(listed[place] for place in chosen)


def test_an_annotation_hides_nothing() -> None:
    """Runtimes do not heed it, so a root image that wears it runs all the same."""
    listed = [child("linux/amd64", "good"), Descriptor(MANIFEST, sha256(b"bad"), 1, "", AMD64, ATTESTATION)]
    assert candidates(listed, (AMD64,), "x") == tuple(listed)


def test_the_platforms_that_are_there_are_named() -> None:
    listed = [child("linux/s390x"), child("windows/amd64"), child("unknown/unknown")]
    with pytest.raises(NotFound) as caught:
        candidates(listed, (AMD64, ARM64), "a/b:1")
    assert (
        caught.value.message == "a/b:1 has no image for linux/amd64 or linux/arm64; it has linux/s390x, windows/amd64"
    )


def test_many_platforms_are_counted() -> None:
    with pytest.raises(NotFound, match=r"and 5 more$"):
        candidates([child(f"linux/a{number}") for number in range(15)], (AMD64,), "x")


@pytest.mark.parametrize(
    ("platform", "leads"),
    [
        ("", True),
        ("linux/amd64", True),
        ("linux/386", True),  # what nodes of amd64 fall back to
        ("/amd64", True),
        ("linux/arm64", False),
        ("windows/amd64", False),
        ("unknown/unknown", False),
    ],
)
def test_which_indexes_in_an_index_are_looked_into(platform: str, leads: bool) -> None:
    assert may_lead(child(platform).platform, (AMD64,)) is leads


def test_a_candidate_of_another_type_is_refused_and_others_are_not() -> None:
    odd = "application/vnd.example"
    assert len(candidates([child("linux/amd64"), child("linux/s390x", media_type=odd)], (AMD64,), "x")) == 1
    with pytest.raises(Malformed, match=odd):
        candidates([child("linux/amd64", media_type=odd)], (AMD64,), "x")
