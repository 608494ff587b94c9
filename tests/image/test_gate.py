"""Our own gate looks at our own image, in both formats that registries hold."""

import json
import sys

import pytest

from image.support import USER, run


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_the_gate_sees_a_user_that_is_a_number_and_not_root(published: str, form: str) -> None:
    hosts = {"PORTCULLIS_REGISTRIES__HOSTS": json.dumps({published: {"insecure": True, "private": True}})}
    command = (sys.executable, "-m", "portcullis", "inspect", f"{published}/portcullis:{form}", "-o", "json")
    found = json.loads(run(*command, env=hosts))
    (container,) = found["containers"]
    assert container["user"] == {
        "uid": USER,
        "gid": USER,
        "name": "",
        "source": "image",
        "root": False,
        "runAsNonRoot": None,
    }
    (platform,) = found["images"][f"{published}/portcullis:{form}"]["platforms"]
    assert platform["config"]["user"] == f"{USER}:{USER}"
    assert platform["layers"] == 5
    inside = platform["contents"]
    assert (inside["status"], inside["os"]["id"], inside["os"]["distroless"]) == ("complete", "debian", True)
    unwanted = ("shells", "packageManagers", "buildTools", "downloadTools", "setuid", "worldWritable", "secrets", "vcs")
    assert {name: [found["path"] for found in inside[name]] for name in unwanted if inside[name]} == {}
