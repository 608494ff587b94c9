"""Base scores of CVSS 3.0 and 3.1 from their vectors (first.org/cvss/v3.1/specification-document, section 7.1), for
predicates that hold a vector and no score."""

import math
from collections.abc import Mapping

_SCOPE_CHANGED = "C"
_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES: Mapping[str, tuple[float, float]] = {"N": (0.85, 0.85), "L": (0.62, 0.68), "H": (0.27, 0.5)}
"""With the scope unchanged, and changed."""
_PREFIXES = ("CVSS:3.0/", "CVSS:3.1/")
_MOST_CHARS = 512


def base_score(vector: str) -> float | None:
    """The base score of a vector; None for one of another version, and for one that lacks a base metric, has one twice
    or with a value that is not known."""
    if not vector.startswith(_PREFIXES) or len(vector) > _MOST_CHARS:
        return None
    parts = [part.partition(":") for part in vector.split("/")[1:]]
    metrics = {name: value for name, _, value in parts}
    if len(metrics) != len(parts) or metrics.get("S") not in {"U", _SCOPE_CHANGED}:
        return None
    changed = metrics["S"] == _SCOPE_CHANGED
    try:
        weights = {name: values[metrics[name]] for name, values in _WEIGHTS.items()}
        privileges = _PRIVILEGES[metrics["PR"]][changed]
    except KeyError:
        return None
    rest = (1 - weights["C"]) * (1 - weights["I"]) * (1 - weights["A"])
    impact = _impact(1 - rest, changed=changed)
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weights["AV"] * weights["AC"] * privileges * weights["UI"]
    return _rounded_up(min((1.08 if changed else 1.0) * (impact + exploitability), 10.0))


def _impact(base: float, *, changed: bool) -> float:
    return 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base


def _rounded_up(score: float) -> float:
    """To one decimal, upwards, without the errors of binary fractions (the specification's appendix A)."""
    units = round(score * 100_000)
    return units / 100_000 if units % 10_000 == 0 else (math.floor(units / 10_000) + 1) / 10
