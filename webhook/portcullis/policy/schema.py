"""The JSON Schema (2020-12) of the policy input, for authors and for ``opa check --schema``.

Written by hand beside :mod:`portcullis.policy.document`, which makes such documents; tests hold the two together.
Objects that Portcullis shapes are closed, so that ``input.imgae`` is an error; what Kubernetes shapes is open.
"""

from collections.abc import Mapping
from typing import Any

from portcullis.model.contents import ContentsStatus, FindingClass

Schema = dict[str, Any]

SCHEMA_ID = "https://portcullis.dev/schemas/policy-input/v1.json"

SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")
FINDINGS = {
    FindingClass.SHELLS: "Command interpreters.",
    FindingClass.BUILD_TOOLS: "Compilers and their like, and what only they need: headers, static libraries.",
    FindingClass.PACKAGE_MANAGERS: "Package managers.",
    FindingClass.INTERPRETERS: "Language runtimes.",
    FindingClass.DOWNLOAD_TOOLS: "What fetches files from elsewhere: curl, wget.",
    FindingClass.SETUID: "Files with the setuid or setgid bit, or with file capabilities.",
    FindingClass.WORLD_WRITABLE: "Files that anybody may write, and such folders without the sticky bit.",
    FindingClass.SECRETS: "What looks like a credential, deleted ones in earlier layers too.",
    FindingClass.VCS: "Version control folders.",
    FindingClass.CACHES: "What package managers leave behind.",
    FindingClass.TESTS: "Tests that were shipped.",
}


def document_schema() -> Schema:
    """The schema of ``input``, as a new JSON tree."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Portcullis policy input",
        **_object(
            "What a policy sees as `input`. A fact that could not be had is null or an empty list, with an entry "
            "in the image's `problems`; it is never left out.",
            time=_object("The clock of this decision.", now=_time("The one instant; time.now_ns is bound to it.")),
            request=_open(
                "The AdmissionRequest of admission.k8s.io/v1, without managedFields; values of environment "
                "variables and of Secrets are replaced."
            ),
            workload=_workload(),
            # Open, because labels and annotations join the name once the cluster is watched.
            namespace={
                "type": "object",
                "description": "The namespace of the request.",
                "properties": {"name": _text('"" for objects outside namespaces.')},
                "required": ["name"],
                "additionalProperties": True,
            },
            containers=_list("Every container and image volume of the pod, in the order of the object.", _container()),
            images={
                "type": "object",
                "description": "Facts per image; the keys are the texts of `containers[].image`.",
                "additionalProperties": {"$ref": "#/$defs/image"},
            },
        ),
        "$defs": {
            "image": _image(),
            "platform": _platform(),
            "attestation": _attestation(),
            "signer": _signer(),
            "scan": _scan(),
            "vulnerability": _vulnerability(),
            "finding": _finding(),
        },
    }


# -- words of the language ---------------------------------------------------------------------------------


def _object(description: str, /, **properties: Schema) -> Schema:
    """A closed object whose properties are all there."""
    return _closed(description, properties)


def _closed(description: str, properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    """Not ``type: [string, null]``, of which OPA's type checker takes the first only."""
    description = schema.pop("description")
    return {"description": description, "anyOf": [schema, {"type": "null"}]}


def _open(description: str, *, null: bool = False) -> Schema:
    schema: Schema = {"type": "object", "description": description, "additionalProperties": True}
    return _or_null(schema) if null else schema


def _list(description: str, items: Schema) -> Schema:
    return {"type": "array", "description": description, "items": items}


def _nothing_yet(description: str) -> Schema:
    return {"type": "array", "description": f"{description} Always empty in this version.", "maxItems": 0}


def _text(description: str, *, null: bool = False, one_of: tuple[str, ...] = (), pattern: str = "") -> Schema:
    schema: Schema = {"type": "string", "description": description}
    if one_of:
        schema["enum"] = [*one_of]
    if pattern:
        schema["pattern"] = pattern
    return _or_null(schema) if null else schema


def _texts(description: str) -> Schema:
    return _list(description, {"type": "string"})


def _time(description: str, *, null: bool = False) -> Schema:
    return _text(
        f"{description} RFC 3339 in UTC, of one width, so that texts compare as times do.",
        null=null,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
    )


def _whole(description: str, *, null: bool = False) -> Schema:
    schema: Schema = {"type": "integer", "minimum": 0, "description": description}
    return _or_null(schema) if null else schema


def _hours(description: str) -> Schema:
    schema: Schema = {
        "type": "number",
        "description": f"{description} in hours; negative for a time in the future, null where it is not known.",
    }
    return _or_null(schema)


def _flag(description: str, *, null: bool = False) -> Schema:
    schema: Schema = {"type": "boolean", "description": description}
    return _or_null(schema) if null else schema


def _root() -> Schema:
    return {
        "description": "Whether that is uid 0. Name the good value and negate it: `not nonroot`, where nonroot "
        "holds for `root == false`, also refuses what is unknown or absent.",
        "anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["unknown"]}],
    }


def _ref(name: str, *, null: bool = False) -> Schema:
    reference = {"$ref": f"#/$defs/{name}"}
    return {"anyOf": [reference, {"type": "null"}]} if null else reference


def _digest(description: str, *, null: bool = False) -> Schema:
    return _text(description, null=null, pattern="^[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$")


# -- the request --------------------------------------------------------------------------------------------


def _workload() -> Schema:
    return _object(
        "The object under judgement, and its pod wherever its kind keeps one.",
        kind=_text("Such as Deployment."),
        apiVersion=_text("Such as apps/v1."),
        namespace=_text("Its namespace."),
        name=_text('Its name; may be "" where the server makes one from generateName.'),
        labels=_open("Labels of the object."),
        annotations=_open("Annotations of the object."),
        podMetadata=_open("metadata of the pod or its template; null for a kind without a pod.", null=True),
        podSpec=_open("spec of the pod or its template; null for a kind without a pod.", null=True),
    )


def _container() -> Schema:
    return _object(
        "One container, or one image volume.",
        name=_text("Name of the container or volume."),
        kind=_text("What it is. Nothing runs in a volume.", one_of=("container", "init", "ephemeral", "volume")),
        path=_text("Where it stands in the object, such as spec.template.spec.containers[0]."),
        image=_text("The image as written; the key into `images`."),
        digest=_digest(
            "Digest of the image that was judged; null where it was not or could not be resolved.", null=True
        ),
        pinned=_flag("Whether the image was written with a digest."),
        user=_object(
            "The user that its first process gets: the container's securityContext, else the pod's, else the USER "
            "of the image.",
            uid=_whole("null where it is not known.", null=True),
            gid=_whole("null where it is not known.", null=True),
            name=_text('User name; "" where there is none.'),
            source=_text(
                "Where the user comes from.",
                one_of=("container", "pod", "image", "unset", "unresolved"),
            ),
            root=_root(),
            runAsNonRoot=_flag(
                "runAsNonRoot of the container, else of the pod; null where neither says. With true, the kubelet "
                "itself refuses to start uid 0 and users that are no number.",
                null=True,
            ),
        ),
        spec=_open("The container (or image volume) as written, environment values replaced."),
    )


# -- images ---------------------------------------------------------------------------------------------------


def _image() -> Schema:
    return _object(
        "What is known of one image.",
        reference=_text("The normalised reference; null where the text is no image reference.", null=True),
        registry=_text("Host and port, such as docker.io or registry.example:5000.", null=True),
        repository=_text("Path in the registry, such as library/nginx.", null=True),
        tag=_text("null where only a digest was written, `latest` where neither was.", null=True),
        digest=_digest("What the reference names: digest of the index, else of the manifest.", null=True),
        isIndex=_flag("Whether it is a multi-platform index; null where it is not known.", null=True),
        staleSince=_time(
            "Since when its registry has not confirmed what is known of it, where the operator lets older answers "
            "count during an outage (registries.staleSeconds); null where all is fresh.",
            null=True,
        ),
        platforms=_list("The images of the platforms that are judged.", _ref("platform")),
        attestations=_list("Everything found attached, verified or rejected.", _ref("attestation")),
        scans=_list("Scan reports of verified attestations.", _ref("scan")),
        sboms=_nothing_yet("Software bills of materials."),
        vex=_nothing_yet("VEX statements."),
        provenance=_nothing_yet("Build provenance."),
        lint=_nothing_yet("Reports of linters."),
        problems=_list(
            "Facts that could not be had.",
            _object(
                "One of them.",
                stage=_text("Where it arose, such as registry."),
                reason=_text("Stable reason code, such as registry-unreachable."),
                retryable=_flag("Whether the same request may succeed later."),
                msg=_text("One sentence for people."),
            ),
        ),
    )


def _platform() -> Schema:
    return _object(
        "The image of one platform.",
        platform=_text("os/architecture[/variant], such as linux/arm64/v8."),
        digest=_digest("Digest of its manifest."),
        created=_time("When the image says that it was built; null where it does not say.", null=True),
        ageHours=_hours("Age by `created`,"),
        compressedBytes=_whole("Size of its layers as pulled."),
        layers=_whole("Number of layers."),
        layerList=_list(
            "The layers, the base first.",
            _object(
                "One of them.",
                digest=_digest("Digest of the blob."),
                diffId=_digest("Digest of the tar in it; null where the image does not say.", null=True),
                mediaType=_text("Such as application/vnd.oci.image.layer.v1.tar+gzip."),
                compressedBytes=_whole("Size as pulled."),
                createdBy=_text('The line of the history that made it; "" where that cannot be told.'),
            ),
        ),
        config=_object(
            "The image configuration.",
            user=_text("USER as written."),
            entrypoint=_texts("ENTRYPOINT."),
            cmd=_texts("CMD."),
            workingDir=_text("WORKDIR."),
            envNames=_texts("Names of environment variables; values are not kept."),
            exposedPorts=_texts("EXPOSE, such as 8080/tcp."),
            volumes=_texts("VOLUME."),
            labels={"type": "object", "description": "LABEL.", "additionalProperties": {"type": "string"}},
            healthcheck=_texts("Test of HEALTHCHECK."),
            history=_list(
                "How it was built, by its own word.",
                _object(
                    "One step.",
                    createdBy=_text("The line as the builder wrote it."),
                    emptyLayer=_flag("Made no layer."),
                    instruction=_text('Of the Dockerfile, such as RUN; "" where the line is of no known form.'),
                    arguments=_text("What follows the instruction."),
                    layerIndex=_whole("The layer that it made, from 0; null where it made none.", null=True),
                ),
            ),
        ),
        user=_object(
            "The image's USER.",
            raw=_text('As written; "" where unset, which is root.'),
            uid=_whole("null where it is not known.", null=True),
            gid=_whole("null where it is not known.", null=True),
            name=_text('User name; "" where there is none.'),
            source=_text("How the uid is known.", one_of=("numeric", "passwd", "unset", "unresolved")),
            root=_root(),
        ),
        contents=_contents(),
    )


def _contents() -> Schema:
    findings = {str(name): _list(description, _ref("finding")) for name, description in FINDINGS.items()}
    return _closed(
        "What is in its layers. The lists mean something only where status is complete; a policy that reads them is "
        "not evaluated before that.",
        {
            "status": _text("How far the look into the layers came.", one_of=tuple(map(str, ContentsStatus))),
            "files": _whole("Number of files in the merged tree.", null=True),
            "bytes": _whole("Size of these files.", null=True),
            "os": _object(
                "From os-release, and what the files themselves say.",
                id=_text("Such as debian.", null=True),
                versionId=_text("Such as 12.", null=True),
                idLike=_texts("ID_LIKE."),
                name=_text("PRETTY_NAME.", null=True),
                distroless=_flag("Neither a shell nor a package manager.", null=True),
                libc=_text('glibc, musl, both, or "" for none.', null=True),
            ),
            "layers": _list(
                "What each layer brings, in the order of layerList.",
                _object(
                    "One layer.",
                    digest=_digest("Digest of the blob."),
                    bytes=_whole("Size of its tar."),
                    files=_whole("Files and links in it."),
                ),
            ),
            **findings,
            "libcMismatches": _list("Compiled extensions for another C library than the system has.", _ref("finding")),
            "application": _application(),
            "packages": {
                "description": "Installed packages, in the input only where a policy reads them.",
                "anyOf": [{"type": "array", "items": _package()}, {"type": "null"}],
            },
        },
    )


def _application() -> Schema:
    schema = _object(
        "Files of the application: below WORKDIR, the entrypoint's own, and those of /app, /srv and the like.",
        roots=_texts("Folders that were taken for it."),
        files=_whole("Regular files."),
        ownedByRoot=_whole("Of these, owned by uid 0."),
        ownedByUser=_whole("Owned by the image's user."),
        ownedByOthers=_whole("Owned by anybody else."),
        writable=_list("What the image's user may change.", _ref("finding")),
        foreign=_list("What belongs to neither root nor the image's user.", _ref("finding")),
        rewrittenBytes=_whole("Bytes held twice because only owner or mode were changed in a later layer."),
    )
    return _or_null(schema)


def _package() -> Schema:
    return _object(
        "One package.",
        manager=_text("dpkg, apk, rpm or python."),
        name=_text("Its name."),
        version=_text("Its version."),
        architecture=_text('"" where not said.'),
        layerIndex=_whole("The layer that brought it."),
    )


def _finding() -> Schema:
    return _object(
        "One finding in the files of an image.",
        path=_text('Absolute in the image; "" for a finding in the history.'),
        what=_text("What it is, such as gcc."),
        rule=_text("Rule of the catalogue that found it."),
        layer=_text("Digest of the layer that holds it."),
        layerIndex=_whole("That layer's place, from 0, the base first."),
        createdBy=_text('The line of the history that made the layer; "" where that cannot be told.'),
        deleted=_flag("A later layer removes it; whoever pulls the image has it all the same."),
        mode=_text("Permission bits in octal, such as 4755."),
        uid=_whole("Owner."),
        gid=_whole("Group."),
        size=_whole("Bytes."),
        count=_whole("Files that it stands for: more than one for a folder of them."),
    )


# -- evidence -------------------------------------------------------------------------------------------------


def _attestation() -> Schema:
    return _object(
        "One attestation that was found. Only a verified one says anything about the image.",
        verified=_flag("Signed by a trusted signer, who may say such things of this image, about this very digest."),
        reason=_text('Stable reason code of the rejection; "" where verified.'),
        message=_text('One sentence on the rejection; "" where verified.'),
        predicateType=_text("As signed; of a rejected attestation possibly only claimed, or empty."),
        predicateClass=_text(
            "What it is about.", one_of=("vulnerability", "lint", "sbom", "vex", "provenance", "other")
        ),
        signer=_ref("signer", null=True),
        carrier=_text("Where it was found, such as referrer or fallback-tag."),
        digest=_digest("Digest of the attestation itself."),
        subject=_digest("Digest of the image that it was found at."),
        platform=_text("Platform of that image; null where it is the whole image.", null=True),
        signedAt=_time("When it was signed, by a time that can be trusted.", null=True),
    )


def _signer() -> Schema:
    return _object(
        "A signer of the `trust` configuration.",
        name=_text("Its name there."),
        kind=_text("How it signs.", one_of=("key", "keyless")),
        issuer=_text('OpenID issuer; "" for keys.'),
        identity=_text('Identity in the certificate; "" for keys.'),
    )


def _scan() -> Schema:
    counts = {severity: _whole(f"Findings of severity {severity}.") for severity in SEVERITIES}
    return _object(
        "One vulnerability scan, in one form for all scanners.",
        scanner=_object(
            "What scanned.",
            name=_text("Such as trivy."),
            version=_text('"" where the report does not say.'),
            dbBuiltAt=_time("When its database was built.", null=True),
        ),
        scannedAt=_time("The oldest of the times that wrapper and report give.", null=True),
        ageHours=_hours("Age of the scan,"),
        dbAgeHours=_hours("Age of the scanner's database,"),
        platform=_text("The one platform that was scanned; null where the report does not say.", null=True),
        signer=_ref("signer", null=True),
        attestation=_digest("Digest of the attestation that carried it."),
        suppressed=_whole("Findings that the report itself marks as ignored."),
        complete=_flag("Whether the report looked at the image and left nothing out, as far as it shows."),
        incompleteBecause=_text('Why it is not complete; "" where it is.'),
        counts=_closed("Number of findings.", {**counts, "fixable": _whole("Findings with a fixed version.")}),
        vulnerabilities=_list("The findings.", _ref("vulnerability")),
    )


def _vulnerability() -> Schema:
    return _object(
        "One finding.",
        id=_text("Such as CVE-2026-12345."),
        aliases=_texts("Other names of it."),
        package=_text("Package that has it."),
        purl=_text('Package URL; "" where not known.'),
        installed=_text("Installed version."),
        fixed=_text('Version that mends it; "" where there is none.'),
        severity=_text("On one scale for all scanners.", one_of=SEVERITIES),
        score=_or_null({"type": "number", "description": "CVSS base score."}),
        state=_text("The scanner's own word for its state."),
        vex=_text('What a VEX statement says of it; "" without one.'),
    )
