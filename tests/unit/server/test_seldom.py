"""A line that anybody can cause is written once a minute."""

from fakes.clock import StandingClock
from portcullis.server.seldom import Seldom


def test_a_line_a_minute_and_how_often_it_was_left_out() -> None:
    clock, said = StandingClock(), []

    def say(**fields: object) -> None:
        said.append(fields)

    line = Seldom(say, clock=clock)
    for _ in range(4):
        line(bytes=7)
    clock.seconds += 59
    line(bytes=8)
    clock.seconds += 2
    line(bytes=9)
    clock.seconds += 60
    line()
    assert said == [{"bytes": 7}, {"bytes": 9, "left_out": 4}, {}]
