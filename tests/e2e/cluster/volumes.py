"""The volumes of pods, as a kubelet fills them: folders of this machine.

ConfigMaps, Secrets and tokens are written as the kubelet writes them: into a folder of its own, to which the link
``..data`` points, and which is swapped for another when the content has changed. An emptyDir lives as long as its pod,
a claim longer.
"""

import base64
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from e2e.cluster.api import ApiError
from e2e.cluster.programs import Cluster, until

DATA = "..data"
RENEWED = 0.8
"""The part of its life after which a token is replaced."""

JSON = dict[str, Any]


class Volumes:
    """Those of the pods of ``namespace``. ``claims`` is the folder of their claims, each by its uid."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._api = cluster.api
        self._base = f"/api/v1/namespaces/{namespace}"
        self._namespace = namespace
        self.claims = Path(tempfile.mkdtemp(prefix="claims-", dir=cluster.folder))
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

    def fill(self, pod: JSON, folder: Path) -> dict[str, Path]:
        """The folder of each volume by its name.

        Raises:
            ApiError: 404, something that is mounted is not there yet.
        """
        return {volume["name"]: self._fill(pod, volume, folder) for volume in pod["spec"].get("volumes", [])}

    def refresh(self, pod: JSON, folder: Path) -> None:
        """Takes up what has changed; what is gone stays as it was."""
        for volume in pod["spec"].get("volumes", []):
            if "persistentVolumeClaim" not in volume and "emptyDir" not in volume:
                try:
                    self._fill(pod, volume, folder)
                except ApiError as error:
                    if error.code != 404:
                        raise

    def _fill(self, pod: JSON, volume: JSON, folder: Path) -> Path:
        if "persistentVolumeClaim" in volume:
            place = self.claims / self._bound_claim(volume["persistentVolumeClaim"]["claimName"])
            place.mkdir(parents=True, exist_ok=True)
            return place
        place = folder / "volumes" / str(volume["name"])
        place.mkdir(parents=True, exist_ok=True)
        if "emptyDir" not in volume:
            files: dict[str, bytes] = {}
            for source in volume["projected"]["sources"] if "projected" in volume else [volume]:
                files |= self._files(pod, source)
            write(place, files)
        return place

    def _bound_claim(self, name: str) -> str:
        """The claim's uid; as a provisioner would, makes the volume that it is then bound to."""
        path = f"{self._base}/persistentvolumeclaims/{name}"
        claim = self._api.get(path)
        uid: str = claim["metadata"]["uid"]
        if claim["status"]["phase"] != "Bound":
            spec = {
                "capacity": claim["spec"]["resources"]["requests"],
                "accessModes": claim["spec"]["accessModes"],
                "claimRef": {"namespace": self._namespace, "name": name, "uid": uid},
                "storageClassName": claim["spec"].get("storageClassName", ""),
                "hostPath": {"path": str(self.claims / uid)},
                "persistentVolumeReclaimPolicy": "Retain",
            }
            self._api.post("/api/v1/persistentvolumes", {"metadata": {"name": f"pv-{uid}"}, "spec": spec})
            until(lambda: self._api.get(path)["status"]["phase"] == "Bound", f"the volume of {name}")
        return uid

    def _files(self, pod: JSON, source: JSON) -> dict[str, bytes]:
        if "configMap" in source:
            return self._chosen(source["configMap"], "configmaps", source["configMap"]["name"])
        if "secret" in source:
            given = source["secret"]
            return self._chosen(given, "secrets", given.get("secretName") or given["name"])
        if "serviceAccountToken" in source:
            return {source["serviceAccountToken"]["path"]: self._token(pod, source["serviceAccountToken"])}
        assert "downwardAPI" in source, source
        paths = {"metadata.namespace": self._namespace, "metadata.name": pod["metadata"]["name"]}
        items = source["downwardAPI"]["items"]
        return {item["path"]: paths[item["fieldRef"]["fieldPath"]].encode() for item in items}

    def _chosen(self, given: JSON, resource: str, name: str) -> dict[str, bytes]:
        try:
            found = self._api.get(f"{self._base}/{resource}/{name}")
        except ApiError as error:
            if error.code == 404 and given.get("optional"):
                return {}
            raise
        if resource == "secrets":
            content = {key: base64.b64decode(text) for key, text in found.get("data", {}).items()}
        else:
            content = {key: text.encode() for key, text in found.get("data", {}).items()}
        if "items" not in given:
            return content
        return {item["path"]: content[item["key"]] for item in given["items"] if item["key"] in content}

    def _token(self, pod: JSON, wanted: JSON) -> bytes:
        owner = pod["metadata"]
        until_then, token = self._tokens.get((owner["uid"], wanted["path"]), (0.0, ""))
        if time.monotonic() >= until_then:
            bound = {"kind": "Pod", "apiVersion": "v1", "name": owner["name"], "uid": owner["uid"]}
            spec = {"expirationSeconds": wanted["expirationSeconds"], "boundObjectRef": bound}
            if "audience" in wanted:
                spec["audiences"] = [wanted["audience"]]
            account = pod["spec"]["serviceAccountName"]
            answer = self._api.post(f"{self._base}/serviceaccounts/{account}/token", {"spec": spec})
            token = answer["status"]["token"]
            until_then = time.monotonic() + wanted["expirationSeconds"] * RENEWED
            self._tokens[owner["uid"], wanted["path"]] = until_then, token
        return token.encode()


def write(place: Path, files: dict[str, bytes]) -> None:
    """Makes ``files`` the content of the folder, all at once."""
    link = place / DATA
    if link.is_symlink() and content(link) == files:
        return
    before = link.resolve() if link.is_symlink() else None
    fresh = place / f"..{time.time_ns()}"
    for name, data in files.items():
        file = fresh / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    fresh.mkdir(exist_ok=True)
    temporary = place / f"{DATA}_tmp"
    temporary.symlink_to(fresh.name)
    temporary.replace(link)
    shown = {name.partition("/")[0] for name in files}
    for name in shown:
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"{DATA}/{name}")
    for entry in place.iterdir():
        if entry.is_symlink() and entry.name != DATA and entry.name not in shown:
            entry.unlink()
    if before is not None:
        shutil.rmtree(before)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below it, by its relative path."""
    root = folder.resolve()
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
