"""Laws of references: printing loses nothing, spellings of one image agree, different images differ."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portcullis.errors import InvalidReference
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import ImageReference
from portcullis.reference.parse import parse_reference

ALNUM = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"


def parse(text: str, default_registry: str = "docker.io") -> ImageReference:
    return parse_reference(text, default_registry=default_registry, limits=DEFAULT_LIMITS)


words = st.text(ALNUM, min_size=1, max_size=6)
labels = st.one_of(words, st.builds("{}-{}".format, words, words))
components = st.builds(
    lambda first, rest: first + "".join(separator + word for separator, word in rest),
    words,
    st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "---"]), words), max_size=2),
)
paths = st.lists(components, min_size=1, max_size=3).map("/".join)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
digests = st.one_of(
    st.text(HEX, min_size=64, max_size=64).map("sha256:{}".format),
    st.text(HEX, min_size=128, max_size=128).map("sha512:{}".format),
)
ports = st.one_of(st.just(""), st.integers(min_value=1, max_value=65535).map(":{}".format))
domains = st.lists(labels, min_size=2, max_size=4).map(".".join)
hosts = st.one_of(
    st.builds("{}{}".format, st.one_of(domains, st.just("localhost")), ports),
    st.builds("[{}]{}".format, st.ip_addresses(v=6).map(lambda address: address.exploded), ports).filter(
        lambda host: "." not in host
    ),
)
endings = st.one_of(
    st.just(""),
    tags.map(":{}".format),
    digests.map("@{}".format),
    st.builds(":{}@{}".format, tags, digests),
)
written = st.builds("{}/{}{}".format, hosts, paths, endings)
short = st.builds("{}{}".format, paths, endings)


@given(st.one_of(written, short))
def test_parse_print_parse(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidReference:
        return  # the text reads as something else: a first component that is a host, 64 hex digits
    assert parse(str(reference)) == reference
    assert parse(str(reference), default_registry="other.example.test:5000") == reference
    assert str(parse(str(reference))) == str(reference)


@given(written)
def test_what_the_grammar_makes_is_read(text: str) -> None:
    parse(text)


@given(st.text(max_size=60))
@example("Foo/bar")
@example("foo/bar")
@example("[::1]/x")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidReference:
        return
    assert parse(str(reference)) == reference


@given(st.text(string.ascii_letters[:4] + string.ascii_uppercase[:3] + "01.:/@_-[]", max_size=14))
def test_texts_close_to_the_grammar(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidReference:
        return
    assert parse(str(reference)) == reference
    assert str(reference.repository) == str(reference.repository).lower()


@given(words.filter(lambda word: word != "localhost"), st.sampled_from(["", ":latest", ":v1"]))
def test_spellings_of_a_docker_hub_image(name: str, tag: str) -> None:
    prefixes = [
        "",
        "library/",
        "docker.io/",
        "docker.io/library/",
        "index.docker.io/",
        "index.docker.io/library/",
        "registry-1.docker.io/library/",
        "DOCKER.io/library/",
    ]
    assert len({parse(f"{prefix}{name}{tag}") for prefix in prefixes}) == 1
    assert parse(name) == parse(f"{name}:latest")


@given(domains, st.integers(min_value=1, max_value=65535), paths, st.data())
def test_spellings_of_a_host(domain: str, port: int, path: str, data: st.DataObject) -> None:
    cased = "".join(data.draw(st.sampled_from([letter, letter.upper()])) for letter in domain)
    zeros = "0" * data.draw(st.integers(min_value=0, max_value=3))
    assert parse(f"{cased}:{zeros}{port}/{path}") == parse(f"{domain}:{port}/{path}")


@given(st.ip_addresses(v=6), paths)
def test_spellings_of_an_address(address: object, path: str) -> None:
    number = int(address)  # type: ignore[call-overload]
    groups = [f"{number >> shift & 0xFFFF:x}" for shift in range(112, -1, -16)]
    long = ":".join(group.zfill(4).upper() for group in groups)
    assert parse(f"[{long}]/{path}") == parse(f"[{':'.join(groups)}]/{path}")


@given(st.tuples(hosts, paths, endings), st.tuples(hosts, paths, endings))
def test_different_images_do_not_collide(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """The normal form takes nothing away but what the spellings above have in common."""

    def meaning(parts: tuple[str, str, str]) -> tuple[str, ...]:
        host, path, ending = parts
        if host.startswith("["):
            address, _, port = host[1:].partition("]")
            groups = [group.lstrip("0") or "0" for group in address.split(":")]
            host = f"[{':'.join(groups)}]{port}"
        tag, _, digest = ending.removeprefix(":").partition("@") if not ending.startswith("@") else ("", "", ending[1:])
        return host, path, tag or ("" if digest else "latest"), digest

    first, second = parse("".join((one[0], "/", *one[1:]))), parse("".join((other[0], "/", *other[1:])))
    assert (first == second) is (meaning(one) == meaning(other))
    assert (str(first) == str(second)) is (first == second)


@pytest.mark.parametrize("pair", [("Foo/bar", "foo/bar"), ("a.b:443/x", "a.b/x"), ("a.b/x", "docker.io/a.b/x")])
def test_neighbours_do_not_collide(pair: tuple[str, str]) -> None:
    results: list[ImageReference | None] = []
    for text in pair:
        try:
            results.append(parse(text))
        except InvalidReference:
            results.append(None)
    assert results[0] != results[1]
