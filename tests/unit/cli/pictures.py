"""An image whose layers were looked into, for tests of what ``inspect`` shows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from portcullis.inspection.history import build_steps
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.contents import (
    Application,
    Contents,
    ContentsStatus,
    Finding,
    FindingClass,
    LayerInfo,
    OperatingSystem,
    Package,
)
from portcullis.model.evidence import Evidence
from portcullis.model.facts import ImageFacts
from portcullis.model.image import (
    Descriptor,
    Digest,
    HistoryEntry,
    ImageConfig,
    ImageReference,
    ImageUser,
    Platform,
    PlatformImage,
    Repository,
    ResolvedImage,
    UserSource,
)
from portcullis.model.request import AdmissionRequest, GroupVersionKind, GroupVersionResource, Operation, UserInfo
from portcullis.model.workload import Workload
from portcullis.policy.document import build_document

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WRITTEN = "oci-layout:build/web:1.4"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
HISTORY = (
    "# debian.sh --arch 'amd64' out/ 'trixie' '@1753056000'",
    "RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends gcc libpq-dev # buildkit",
    "COPY requirements.txt /srv/app/ # buildkit",
    "RUN /bin/sh -c pip install -r /srv/app/requirements.txt # buildkit",
    "COPY --chown=1000:1000 . /srv/app # buildkit",
    'CMD ["python" "-m" "web"]',
)
DIGESTS = tuple(Digest("sha256:" + f"{number:x}" * 64) for number in range(1, 8))


def finding(path: str, what: str, layer: int = 0, **more: Any) -> Finding:
    return Finding(path, what, what, DIGESTS[layer], layer, HISTORY[layer], **more)


def contents(**changes: Any) -> Contents:
    """What may lie in a carelessly built Python service."""
    layers = tuple(
        LayerInfo(DIGESTS[index], DIGESTS[index], LAYER, size // 3, size, files)
        for index, (size, files) in enumerate(
            [(78_600_000, 6_201), (212_000_000, 2_944), (412, 1), (31_000_000, 1_530), (48_000, 61)]
        )
    )
    headers = [finding("/usr/include", "headers", 1, count=1_204)]
    tools = [
        finding(f"/usr/bin/x86_64-linux-gnu-{name}-14", name, 1)
        for name in ("gcc", "cpp", "gcov", "ld", "as", "ar", "nm")
    ]
    more = [finding(f"/usr/bin/{name}", name, 1) for name in ("make", "pip", "pip3", "git", "perl")]
    found = {
        FindingClass.SHELLS: (finding("/usr/bin/bash", "bash"), finding("/usr/bin/dash", "dash")),
        FindingClass.BUILD_TOOLS: (*headers, *tools, *more),
        FindingClass.PACKAGE_MANAGERS: (finding("/usr/bin/apt", "apt"), finding("/usr/bin/dpkg", "dpkg")),
        FindingClass.SETUID: (finding("/usr/bin/chfn", "setuid", mode=0o4755),),
        FindingClass.SECRETS: (
            finding("/srv/app/.env", "environment file", 4, mode=0o644, uid=1000, gid=1000, size=212),
            finding("/srv/app/config/deploy/production/id_ed25519", "private key", 4, deleted=True, size=411),
            finding("", "build argument NPM_TOKEN", 3),
        ),
        FindingClass.VCS: (finding("/srv/app/.git", "git repository", 4, count=48),),
    }
    values: dict[str, Any] = {
        "files": 10_737,
        "bytes": 321_000_000,
        "os": OperatingSystem("debian", "13", (), "Debian GNU/Linux 13 (trixie)", False, "glibc"),
        "layers": layers,
        "findings": found,
        "libc_mismatches": (finding("/srv/app/vendor/_psycopg.cpython-313-x86_64-linux-musl.so", "musl", 4),),
        "application": Application(
            roots=("/srv/app",),
            files=61,
            owned_by_root=1,
            owned_by_user=60,
            writable=(finding("/srv/app", "writable", 4, mode=0o755, uid=1000, gid=1000, count=60),),
            rewritten_bytes=5_400_000,
        ),
        "packages": (
            Package("dpkg", "bash", "5.2.37-2", "amd64"),
            Package("dpkg", "libc6", "2.41-12", "amd64"),
            Package("python", "psycopg", "3.3.1", "", 3),
        ),
    }
    return Contents(**(values | changes))


def platform_image(where: Platform) -> PlatformImage:
    history = tuple(HistoryEntry(line, empty_layer=line.startswith("CMD")) for line in HISTORY)
    config = ImageConfig(
        user="app",
        created=NOW - timedelta(days=12),
        entrypoint=(),
        cmd=("python", "-m", "web"),
        working_dir="/srv/app",
        env_names=("PATH",),
        exposed_ports=(),
        volumes=(),
        labels={"org.opencontainers.image.source": "https://git.example/acme/web"},
        healthcheck=(),
        history=history,
        diff_ids=DIGESTS[:5],
    )
    sizes = (29_800_000, 80_100_000, 311, 10_400_000, 15_200)
    layers = tuple(Descriptor(LAYER, digest, size) for digest, size in zip(DIGESTS, sizes, strict=False))
    return PlatformImage(where, DIGESTS[5], DIGESTS[6], config, layers)


def looked_into(*insides: Contents, platforms: tuple[Platform, ...] = (Platform("linux", "amd64"),)) -> ImageFacts:
    """An image with an index over ``platforms``, and ``insides`` in them."""
    images = tuple(platform_image(platform) for platform in platforms)
    reference = ImageReference(Repository("oci-layout", "build/web"), "1.4", None)
    user = ImageUser("app", 1000, 1000, "app", UserSource.PASSWD, False)
    return ImageFacts(
        written=WRITTEN,
        reference=reference,
        resolved=ResolvedImage(
            reference, DIGESTS[5], "application/vnd.oci.image.index.v1+json", len(images) > 1, images
        ),
        users=(user,) * len(images),
        steps=tuple(build_steps(one.config, len(one.layers)) for one in images),
        contents=insides,
        contents_status=ContentsStatus.COMPLETE if insides else ContentsStatus.PENDING,
        evidence=Evidence(),
    )


def policy_input(facts: ImageFacts) -> Any:
    """``input.images[written]`` for these facts."""
    request = AdmissionRequest(
        uid="u",
        kind=GroupVersionKind("", "v1", "Pod"),
        resource=GroupVersionResource("", "v1", "pods"),
        sub_resource="",
        name="",
        namespace="",
        operation=Operation.CREATE,
        user=UserInfo(""),
        object={},
        old_object=None,
        dry_run=False,
        raw={},
    )
    workload = Workload("Pod", "v1", "", "", {}, {}, {}, {}, ())
    document = build_document(
        now=NOW, request=request, workload=workload, containers=[], images=[facts], limits=DEFAULT_LIMITS
    )
    return json.loads(document)["images"][facts.written]
