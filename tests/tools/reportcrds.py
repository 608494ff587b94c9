"""The CustomResourceDefinitions of PolicyReports and of OpenReports' Reports, for tests.

    python3 tests/tools/reportcrds.py

prints them, ready for ``kubectl apply -f -``. That of PolicyReports lies in the Go module of its project, of which one
version is pinned here; Go checks it by the checksum database and keeps it in its cache, and SHA256 checks the file.

OpenReports' module is not on the Go module proxy. What is made here is what its definition says (config/install.yaml of
openreports/reports-api at commit 79fa2f394ab7486b8d9b1cb449dfef885a0c804e, read field by field): the schema of
``v1alpha2`` of PolicyReports, with a ``source`` of the whole report, under other names. ``configuration``, which a
writer may leave out and ours does, is left out.
"""

import copy
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

MODULE = "sigs.k8s.io/wg-policy-prototypes"
VERSION = "v0.0.0-20230505033312-51c21979086a"
FILE = "policy-report/crd/v1alpha2/wgpolicyk8s.io_policyreports.yaml"
SHA256 = "04cae1b4158ba59debed7c702e8dee4434d583cff9aa8ab00add54b6a63c56b5"
OUR_VERSION = "v1alpha2"


def module() -> Path:
    """The folder of the pinned Go module."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("reportcrds: there is no Go, which fetches and checks the module. Install Go 1.26.")
    with tempfile.TemporaryDirectory() as nowhere:  # where there is no go.mod that would have a say
        command = [go, "mod", "download", "-json", f"{MODULE}@{VERSION}"]
        done = subprocess.run(command, cwd=nowhere, capture_output=True, text=True, check=False)
    try:
        return Path(json.loads(done.stdout)["Dir"])
    except (ValueError, KeyError):
        raise SystemExit(f"reportcrds: {MODULE} cannot be had: {done.stdout}{done.stderr}") from None


def policy_reports() -> dict[str, Any]:
    """As its project has it."""
    content = (module() / FILE).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise SystemExit(f"reportcrds: {FILE} has sha256 {found}, expected {SHA256}: not used")
    (definition,) = [one for one in yaml.safe_load_all(content) if one]
    return dict(definition)


def open_reports() -> dict[str, Any]:
    """As described above."""
    like = policy_reports()
    (version,) = [one for one in like["spec"]["versions"] if one["name"] == OUR_VERSION]
    version = copy.deepcopy(version) | {"name": "v1alpha1", "served": True, "storage": True}
    version["schema"]["openAPIV3Schema"]["properties"]["source"] = {"type": "string"}
    names = {
        "kind": "Report",
        "listKind": "ReportList",
        "plural": "reports",
        "singular": "report",
        "shortNames": ["reps"],
    }
    return {
        "apiVersion": like["apiVersion"],
        "kind": like["kind"],
        "metadata": {"name": "reports.openreports.io"},
        "spec": {"group": "openreports.io", "names": names, "scope": "Namespaced", "versions": [version]},
    }


def main() -> None:
    yaml.safe_dump_all([policy_reports(), open_reports()], sys.stdout)


if __name__ == "__main__":
    main()
