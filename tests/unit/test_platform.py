"""Platforms in the spellings of several tools."""

import pytest

from portcullis.model.image import Platform


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        ("linux/arm64", "linux/arm64", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64", "linux/amd64", False),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_which_spellings_fit(one: str, other: str, fits: bool) -> None:
    first, second = Platform(*one.split("/")), Platform(*other.split("/"))
    assert (first.fits(second), second.fits(first)) == (fits, fits)
