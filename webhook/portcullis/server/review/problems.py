"""Pages that say why there is no other page: one sentence, and what to do."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from portcullis.server.review.rendering import asks_for_part, render


class PageProblem(Exception):
    """A page that cannot be given.

    Args:
        status: of the answer.
        title: in few words.
        sentence: what is the matter; may hold text from outside.
        advice: what to do.
    """

    def __init__(self, status: int, title: str, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.title = title
        self.sentence = sentence
        self.advice = advice


def problem_page(request: Request, problem: PageProblem, headers: Mapping[str, str] | None = None) -> Response:
    """The page of a problem; of the page only the notice where htmx puts it into another one."""
    template = "problem_part.html.j2" if asks_for_part(request) else "problem.html.j2"
    answer = render(request, template, problem.status, problem=problem)
    answer.headers.update(headers or {})
    return answer
