"""What the routes of the JSON API share: who asks for what, and what is wrong with a question."""

from typing import Annotated, Any

from fastapi import Depends, Request

from portcullis.server.review.apimodels import ProblemDetails
from portcullis.server.review.apiproblems import MEDIA_TYPE
from portcullis.server.review.parts import ReviewParts, parts_of
from portcullis.server.review.reader import Reader, reader_of


class Unfit(Exception):
    """A parameter that cannot be answered by."""

    def __init__(self, parameter: str, message: str, *, reason: str = "query-invalid") -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message
        self.reason = reason


class Absent(Exception):
    """There is no such thing, or the reader may not see it: nobody can tell the two apart."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


async def once_each(request: Request) -> None:
    """Each parameter stands there once."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise Unfit(name, "it is given more than once")


def _reader(request: Request) -> Reader:
    return reader_of(request)


def _parts(request: Request) -> ReviewParts:
    return parts_of(request)


Readers = Annotated[Reader, Depends(_reader)]
Parts = Annotated[ReviewParts, Depends(_parts)]

ABSENT: dict[int | str, dict[str, Any]] = {
    404: {"model": ProblemDetails, "description": "It is not there.", "content": {MEDIA_TYPE: {}}}
}


def searchable(text: str) -> bool:
    """Whether it may be the name of something; what has other characters is the name of nothing."""
    return len(text) <= 1024 and text.isprintable()
