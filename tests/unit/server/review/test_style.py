"""Contrast of the colours in style.css, computed as WCAG 2.2 says, for light and for dark."""

import re
from importlib.resources import files
from itertools import product

import pytest

STYLE = (files("portcullis.server.review") / "static" / "style.css").read_text()
_TOKEN = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")

GROUNDS = ("ground", "surface", "raised", "hover")
STATES = ("admitted", "refused", "outage", "pending", "exception", "break-glass", "quiet")
TEXTS = [
    *product(("text", "soft", "link", "critical", "high", "medium", "low", "negligible"), GROUNDS),
    *product(STATES, GROUNDS),
    *((state, f"{state}-tint") for state in STATES),
    ("text", "link-tint"),
    ("link", "link-tint"),
    ("on-link", "link"),
    ("on-bar", "bar"),
    ("on-bar-soft", "bar"),
]
EDGES = [*product(("edge", "link"), GROUNDS)]


def tokens() -> dict[str, dict[str, str]]:
    light, dark, *_ = STYLE.split("@media (prefers-color-scheme: dark)")
    first = dict(_TOKEN.findall(light))
    return {"light": first, "dark": first | dict(_TOKEN.findall(dark.split("/* -- ground")[0]))}


def luminance(colour: str) -> float:
    """Source: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_formula() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_both_schemes_have_every_colour() -> None:
    light, dark = tokens().values()
    own = set(_TOKEN.findall(STYLE.split("@media (prefers-color-scheme: dark)")[1].split("/* -- ground")[0]))
    assert {name for name, _ in own} == set(light)
    assert set(dark) == set(light)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_can_be_read(scheme: str, text: str, ground: str) -> None:
    """Success criterion 1.4.3."""
    colours = tokens()[scheme]
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("edge", "ground"), EDGES)
def test_controls_and_focus_can_be_seen(scheme: str, edge: str, ground: str) -> None:
    """Success criterion 1.4.11."""
    colours = tokens()[scheme]
    assert contrast(colours[edge], colours[ground]) >= 3


def test_colours_are_tokens() -> None:
    own = (files("portcullis.server.review") / "static" / "decisions.css").read_text()
    rules = own + STYLE.split("/* -- ground")[1].split("@media print")[0]
    assert not re.findall(r"#[0-9a-f]{3,6}\b(?![^;{]*\{)", rules)
