"""The loopback registry, endpoint by endpoint of the distribution specification. That real clients and this
project's own get along with it is shown by tests/contract/test_registry.py."""

import hashlib
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from portcullis.cli.demo.registry import create_registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Api:
    def __init__(self, *, referrers_api: bool = True) -> None:
        self.http = TestClient(create_registry(referrers_api=referrers_api), raise_server_exceptions=True)

    def blob(self, content: bytes, name: str = "acme/web") -> str:
        started = self.http.post(f"/v2/{name}/blobs/uploads/")
        assert started.status_code == 202
        done = self.http.put(started.headers["Location"], params={"digest": sha256(content)}, content=content)
        assert (done.status_code, done.headers["Docker-Content-Digest"]) == (201, sha256(content))
        return sha256(content)

    def manifest(self, reference: str, document: dict[str, Any], name: str = "acme/web") -> Any:
        content = json.dumps(document).encode()
        path = f"/v2/{name}/manifests/{reference or sha256(content)}"
        return self.http.put(path, content=content, headers={"Content-Type": document["mediaType"]})

    def image(self, reference: str, name: str = "acme/web", **more: Any) -> Any:
        config = self.blob(b"{}", name)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config, "size": 2},
            "layers": [],
        }
        return self.manifest(reference, document | more, name)


@pytest.fixture
def api() -> Api:
    return Api()


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def test_the_version_endpoint(api: Api) -> None:
    assert api.http.get("/v2/").status_code == 200
    assert api.http.get("/v1/").status_code == 404
    assert code(api.http.delete("/v2/")) == (405, "UNSUPPORTED")


def test_manifests_by_tag_and_digest(api: Api) -> None:
    pushed = api.image("1")
    digest = pushed.headers["Docker-Content-Digest"]
    assert (pushed.status_code, pushed.headers["Location"]) == (201, f"/v2/acme/web/manifests/{digest}")
    for reference in ("1", digest):
        found = api.http.get(f"/v2/acme/web/manifests/{reference}")
        assert (sha256(found.content), found.headers["Content-Type"]) == (digest, MANIFEST)
        head = api.http.head(f"/v2/acme/web/manifests/{reference}")
        assert (head.content, head.headers["Docker-Content-Digest"]) == (b"", digest)
        assert head.headers["Content-Length"] == str(len(found.content))


def test_a_tag_moves_and_the_digest_stays(api: Api) -> None:
    first = api.image("1").headers["Docker-Content-Digest"]
    second = api.image("1", annotations={"a": "b"}).headers["Docker-Content-Digest"]
    assert api.http.get("/v2/acme/web/manifests/1").headers["Docker-Content-Digest"] == second
    assert api.http.get(f"/v2/acme/web/manifests/{first}").status_code == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/acme/none/manifests/1", (404, "NAME_UNKNOWN")),
        ("/v2/acme/web/manifests/2", (404, "MANIFEST_UNKNOWN")),
        (f"/v2/acme/web/manifests/{sha256(b'x')}", (404, "MANIFEST_UNKNOWN")),
        (f"/v2/acme/web/blobs/{sha256(b'x')}", (404, "BLOB_UNKNOWN")),
        ("/v2/acme/web/blobs/uploads/00000000000000000000000000000000", (404, "BLOB_UPLOAD_UNKNOWN")),
        ("/v2/ACME/web/manifests/1", (404, "NAME_UNKNOWN")),
        ("/v2/acme/web/manifests/-bad", (404, "NAME_UNKNOWN")),
    ],
)
def test_what_is_not_there(api: Api, path: str, expected: tuple[int, str]) -> None:
    api.image("1")
    assert code(api.http.get(path)) == expected


def test_blobs_are_kept_by_repository(api: Api) -> None:
    digest = api.blob(b"content")
    assert api.http.get(f"/v2/acme/web/blobs/{digest}").content == b"content"
    assert api.http.head(f"/v2/acme/web/blobs/{digest}").headers["Content-Length"] == "7"
    api.blob(b"else", "acme/other")
    assert api.http.head(f"/v2/acme/other/blobs/{digest}").status_code == 404


def test_uploads_in_one_request_and_in_chunks(api: Api) -> None:
    at_once = api.http.post("/v2/acme/web/blobs/uploads/", params={"digest": sha256(b"one")}, content=b"one")
    assert (at_once.status_code, at_once.headers["Location"]) == (201, f"/v2/acme/web/blobs/{sha256(b'one')}")
    place = api.http.post("/v2/acme/web/blobs/uploads/").headers["Location"]
    first = api.http.patch(place, content=b"abc", headers={"Content-Range": "0-2"})
    assert (first.status_code, first.headers["Range"]) == (202, "0-2")
    assert code(api.http.patch(place, content=b"x", headers={"Content-Range": "9-9"})) == (416, "BLOB_UPLOAD_INVALID")
    assert api.http.get(place).headers["Range"] == "0-2"
    digest = sha256(b"abcdef")
    assert api.http.put(place, params={"digest": digest}, content=b"def").status_code == 201
    assert api.http.get(f"/v2/acme/web/blobs/{digest}").content == b"abcdef"
    assert api.http.get(place).status_code == 404


def test_mounts_from_another_repository(api: Api) -> None:
    digest = api.blob(b"content", "acme/base")
    mounted = api.http.post("/v2/acme/web/blobs/uploads/", params={"mount": digest, "from": "acme/base"})
    assert mounted.status_code == 201
    assert api.http.get(f"/v2/acme/web/blobs/{digest}").content == b"content"
    missing = api.http.post("/v2/acme/web/blobs/uploads/", params={"mount": sha256(b"x"), "from": "acme/base"})
    assert missing.status_code == 202


@pytest.mark.parametrize("digest", ["", "sha256:00", "md5:00", sha256(b"other")])
def test_a_blob_must_have_its_digest(api: Api, digest: str) -> None:
    place = api.http.post("/v2/acme/web/blobs/uploads/").headers["Location"]
    assert code(api.http.put(place, params={"digest": digest}, content=b"content")) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (b"{", MANIFEST, "MANIFEST_INVALID"),
        (b"[]", MANIFEST, "MANIFEST_INVALID"),
        (b"[" * 100_000, MANIFEST, "MANIFEST_INVALID"),
        (json.dumps({"mediaType": INDEX}).encode(), MANIFEST, "MANIFEST_INVALID"),
        (b"{}", "text/plain", "MANIFEST_INVALID"),
        (b"{}", MANIFEST, "MANIFEST_INVALID"),
        (json.dumps({"manifests": [{}]}).encode(), INDEX, "MANIFEST_INVALID"),
        (json.dumps({"manifests": [{"digest": sha256(b"x")}]}).encode(), INDEX, "MANIFEST_BLOB_UNKNOWN"),
        (json.dumps({"config": {"digest": sha256(b"x")}}).encode(), MANIFEST, "MANIFEST_BLOB_UNKNOWN"),
    ],
)
def test_manifests_that_are_refused(api: Api, content: bytes, content_type: str, expected: str) -> None:
    answer = api.http.put("/v2/acme/web/manifests/1", content=content, headers={"Content-Type": content_type})
    assert code(answer) == (400, expected)


def test_a_manifest_under_another_digest_is_refused(api: Api) -> None:
    assert code(api.image(sha256(b"other"))) == (400, "DIGEST_INVALID")


def test_a_manifest_that_is_too_large_is_refused(api: Api) -> None:
    answer = api.http.put("/v2/acme/web/manifests/1", content=b" " * (4 * 1024 * 1024 + 1))
    assert code(answer) == (413, "SIZE_INVALID")


def test_tags_in_pages(api: Api) -> None:
    for tag in ("b", "a", "c"):
        api.image(tag)
    path = "/v2/acme/web/tags/list"
    assert api.http.get(path).json() == {"name": "acme/web", "tags": ["a", "b", "c"]}
    page = api.http.get(path, params={"n": 2})
    assert page.json()["tags"] == ["a", "b"]
    assert page.headers["Link"] == '</v2/acme/web/tags/list?n=2&last=b>; rel="next"'
    last = api.http.get("/v2/acme/web/tags/list?n=2&last=b")
    assert (last.json()["tags"], "Link" in last.headers) == (["c"], False)


def subject(digest: str) -> dict[str, Any]:
    return {"subject": {"mediaType": MANIFEST, "digest": digest, "size": 1}}


def test_referrers(api: Api) -> None:
    """Those without artifactType have the type of their configuration; the subject need not be there."""
    about = sha256(b"the subject")
    path = f"/v2/acme/web/referrers/{about}"
    empty = api.http.get(path)
    assert (empty.status_code, empty.headers["Content-Type"], empty.json()["manifests"]) == (200, INDEX, [])
    assert api.http.get(f"/v2/acme/none/referrers/{about}").json()["manifests"] == []
    typed = api.image("", **subject(about), artifactType=BUNDLE, annotations={"a": "b"})
    plain = api.image("", **subject(about))
    api.image("", **subject(sha256(b"another")))
    assert typed.headers["OCI-Subject"] == plain.headers["OCI-Subject"] == about
    found = api.http.get(path).json()["manifests"]
    assert [one["artifactType"] for one in found] == [BUNDLE, CONFIG]
    assert found[0] == {
        "mediaType": MANIFEST,
        "digest": typed.headers["Docker-Content-Digest"],
        "size": len(api.http.get(f"/v2/acme/web/manifests/{found[0]['digest']}").content),
        "artifactType": BUNDLE,
        "annotations": {"a": "b"},
    }
    filtered = api.http.get(path, params={"artifactType": BUNDLE})
    assert [one["digest"] for one in filtered.json()["manifests"]] == [found[0]["digest"]]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert "OCI-Filters-Applied" not in api.http.get(path).headers


def test_a_registry_without_the_referrers_api() -> None:
    api = Api(referrers_api=False)
    about = sha256(b"the subject")
    pushed = api.image("", **subject(about))
    assert (pushed.status_code, "OCI-Subject" in pushed.headers) == (201, False)
    assert api.http.get(f"/v2/acme/web/referrers/{about}").status_code == 404
    assert "OCI-Subject" not in api.image("1").headers


def test_nothing_is_shared_between_registries() -> None:
    one, other = Api(), Api()
    one.image("1")
    assert other.http.get("/v2/acme/web/manifests/1").status_code == 404
