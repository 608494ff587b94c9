"""Errors in one block with exit code 2, JSON that is ASCII."""

import json

import pytest
import typer

from portcullis.cli.output import EXIT_INTERRUPTED, print_json, reported
from portcullis.errors import ConfigError, Unreachable


def test_an_error_of_ours_is_one_block_on_stderr_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    @reported
    def command() -> None:
        raise ConfigError("portcullis.yaml:3: server.prot: unknown key\ndid you mean port?")

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.splitlines() == [
        "error: portcullis.yaml:3: server.prot: unknown key",
        "  did you mean port?",
    ]


def test_the_reason_code_of_an_outage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    @reported
    def command() -> None:
        raise Unreachable("no connection")

    with pytest.raises(typer.Exit):
        command()
    assert "reason: registry-unreachable" in capsys.readouterr().err


def test_hostile_text_in_errors_is_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    @reported
    def command() -> None:
        raise ConfigError("\x1b[2J[red]x")

    with pytest.raises(typer.Exit):
        command()
    streams = capsys.readouterr()
    assert "\x1b[2J" not in streams.err
    assert "[red]x" in streams.err


def test_an_interrupt_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    @reported
    def command() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == EXIT_INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_what_a_command_returns_comes_back() -> None:
    @reported
    def command(number: int) -> int:
        return number + 1

    assert command(1) == 2


def test_a_fault_of_the_program_is_not_hidden() -> None:
    @reported
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


def test_json_is_ascii_whatever_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "\x9b\u202eä\ud800"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"name": "\x9b\u202eä\ud800"}
