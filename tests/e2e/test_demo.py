"""The demo from end to end: real registry, real OPA, real TLS, the webhook as its own process."""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from e2e.support import RunningDemo, portcullis
from portcullis.cli.demo.expected import load_expected


def test_the_demo_shows_every_verdict_and_the_audit_list(running_demo: RunningDemo) -> None:
    output = running_demo.output
    assert f"All {len(load_expected())} verdicts are as expected" in output
    for words in ("Deployment shop/legacy", "CronJob shop/reporter", "PodTemplate shop/model", "ephemeralcontainers"):
        assert words in output
    for words in ("✓ admitted", "✗ refused", "? undecided", "unchanged", "image-user", "scan-required"):
        assert words in output
    _, _, listed = output.partition("$ portcullis audit list")
    assert "When (UTC)" in listed
    assert "kube-system:replicaset-controller" in listed


def test_the_demo_for_programs() -> None:
    done = portcullis("demo", "-o", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["differences"] == []
    assert {answer["case"] for answer in result["answers"]} == set(load_expected())
    assert all(answer["code"] == 200 or "Decision " in answer["message"] for answer in result["answers"])


def test_the_example_call_that_is_printed_works(running_demo: RunningDemo) -> None:
    done = subprocess.run(running_demo.lines["try"], shell=True, capture_output=True, text=True, timeout=120)
    assert '"allowed":false' in done.stdout, done.stderr
    assert "[image-user]" in done.stdout


def test_the_audit_pages_that_are_printed_show_what_was_decided(running_demo: RunningDemo) -> None:
    address = running_demo.lines["pages"]
    for path, words in {"/": "Held up by outages", "/decisions": "storefront", "/policies": "image-user"}.items():
        page = subprocess.run(["curl", "-sf", address + path], capture_output=True, text=True, timeout=120)
        assert page.returncode == 0
        assert words in page.stdout


def test_the_health_that_is_printed_answers(running_demo: RunningDemo) -> None:
    done = subprocess.run(["curl", "-sf", running_demo.lines["health"]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals) -> None:
    place = tempfile.TemporaryDirectory(prefix="demo-")  # of its own, and short: sockets go there
    process = subprocess.Popen(
        [sys.executable, "-m", "portcullis", "demo"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": place.name},
        # A shell that runs the tests in the background has its children ignore Ctrl-C; a terminal does not.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("starting the gate"):
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (130, 143), errors
    assert "Traceback" not in errors
    assert list(Path(place.name).iterdir()) == []
    place.cleanup()
