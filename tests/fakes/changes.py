"""A document of which one value was replaced, for property tests of readers."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st


def replace_anywhere(
    data: st.DataObject, document: Any, values: st.SearchStrategy[Any], stop: st.SearchStrategy[Any] | None = None
) -> None:
    """Replaces one value in ``document``, at any depth, by one of ``values``.

    Args:
        document: a dict or list that is not empty; it is changed.
        stop: where it draws something true, what stands there is replaced as a whole.
    """
    stops = st.booleans() if stop is None else stop
    place: Any = document
    while True:
        keys: Sequence[Any] = list(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(stops):
            break
        place = place[key]
    place[key] = data.draw(values)
