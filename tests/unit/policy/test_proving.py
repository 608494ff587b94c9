"""What speaks against policies before they count."""

from pathlib import Path

import pytest

from portcullis.limits import DEFAULT_LIMITS
from portcullis.policy.proving import failing_tests, lint_errors

pytestmark = [pytest.mark.anyio, pytest.mark.opa]

FOREIGN = 'package main\n\nimport rego.v1\n\ndeny contains "x" if input.kind == "Pod"\n'
ROOT = """package portcullis.policies.root

import rego.v1

deny contains {"msg": "x", "fix": "y"} if {
	some container in input.containers
	container.user.root == true
}
"""


async def test_errors_of_lint_keep_out_what_is_written_for_us(opa_binary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "configmaps" / "gate" / "m"
    folder.mkdir(parents=True)
    (folder / "main.rego").write_text(FOREIGN)
    top = [tmp_path / "configmaps"]
    assert await lint_errors(top, binary=opa_binary, limits=DEFAULT_LIMITS) == ()
    (folder / "root.rego").write_text(ROOT)
    (found,) = await lint_errors(top, binary=opa_binary, limits=DEFAULT_LIMITS)
    assert (found.file, found.row) == ("configmaps/gate/m/root.rego", 7)
    assert "[three-states]" in found.message
    (folder / "root.rego").write_text(ROOT.replace("== true", "!= false"))
    found_now = await lint_errors(top, binary=opa_binary, limits=DEFAULT_LIMITS)
    assert [problem.message for problem in found_now] == []


async def test_tests_see_what_lies_beside_and_run_none_of_its_own(opa_binary: Path, tmp_path: Path) -> None:
    own, beside = tmp_path / "own", tmp_path / "beside"
    own.mkdir()
    beside.mkdir()
    (beside / "lib.rego").write_text("package portcullis.lib.one\n\nanswer := 42\n")
    (beside / "lib_test.rego").write_text("package portcullis.lib.one_test\n\ntest_never if 1 == 2\n")
    (own / "a_test.rego").write_text("package a_test\n\ntest_it if data.portcullis.lib.one.answer == 42\n")
    assert await failing_tests([own], [beside], binary=opa_binary, limits=DEFAULT_LIMITS) == ()
    (own / "a_test.rego").write_text("package a_test\n\ntest_it if data.portcullis.lib.one.answer == 41\n")
    (failed,) = await failing_tests([own], [beside], binary=opa_binary, limits=DEFAULT_LIMITS)
    assert (failed.file, failed.row, failed.message) == ("own/a_test.rego", 3, "the test test_it fails")


async def test_tests_may_do_no_more_than_policies(opa_binary: Path, tmp_path: Path) -> None:
    """Whoever may write a ConfigMap must not reach the network through the gate."""
    (tmp_path / "a_test.rego").write_text(
        'package a_test\n\ntest_it if http.send({"method": "GET", "url": "http://127.0.0.1:1"}).status_code == 200\n'
    )
    (found,) = await failing_tests([tmp_path], [], binary=opa_binary, limits=DEFAULT_LIMITS)
    assert (found.row, found.message) == (3, "undefined function http.send")
