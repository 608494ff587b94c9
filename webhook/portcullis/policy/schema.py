"""The JSON Schema (2020-12) of the policy input, for authors and for ``opa check --schema``.

Written by hand beside :mod:`portcullis.policy.document`, which makes such documents; tests hold the two together.
Objects that Portcullis shapes are closed, so that ``input.imgae`` is an error; what Kubernetes shapes is open.
"""

from portcullis.model.contents import ContentsStatus, FindingClass
from portcullis.policy.evidenceschema import evidence_definitions, evidence_lists
from portcullis.policy.schemawords import (
    Schema,
    closed,
    digest,
    flag,
    hours,
    instant,
    listed,
    opened,
    or_null,
    record,
    ref,
    text,
    texts,
    whole,
)

SCHEMA_ID = "https://portcullis.dev/schemas/policy-input/v1.json"

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
        **record(
            "What a policy sees as `input`. A fact that could not be had is null or an empty list, with an entry "
            "in the image's `problems`; it is never left out.",
            time=record("The clock of this decision.", now=instant("The one instant; time.now_ns is bound to it.")),
            request=opened(
                "The AdmissionRequest of admission.k8s.io/v1, without managedFields; values of environment "
                "variables and of Secrets are replaced."
            ),
            workload=_workload(),
            namespace=record(
                "The namespace of the request, as the API server knows it.",
                name=text('"" for objects outside namespaces.'),
                labels=opened("Its labels; null where no policy reads them, or they are not known.", null=True),
                annotations=opened("Likewise.", null=True),
            ),
            containers=listed("Every container and image volume of the pod, in the order of the object.", _container()),
            images={
                "type": "object",
                "description": "Facts per image; the keys are the texts of `containers[].image`.",
                "additionalProperties": {"$ref": "#/$defs/image"},
            },
        ),
        "$defs": {
            "image": _image(),
            "platform": _platform(),
            **evidence_definitions(),
            "finding": _finding(),
        },
    }


# -- the request --------------------------------------------------------------------------------------------


def _root() -> Schema:
    return {
        "description": "Whether that is uid 0. Name the good value and negate it: `not nonroot`, where nonroot "
        "holds for `root == false`, also refuses what is unknown or absent.",
        "anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["unknown"]}],
    }


def _workload() -> Schema:
    return record(
        "The object under judgement, and its pod wherever its kind keeps one.",
        kind=text("Such as Deployment."),
        apiVersion=text("Such as apps/v1."),
        namespace=text("Its namespace."),
        name=text('Its name; may be "" where the server makes one from generateName.'),
        labels=opened("Labels of the object."),
        annotations=opened("Annotations of the object."),
        podMetadata=opened("metadata of the pod or its template; null for a kind without a pod.", null=True),
        podSpec=opened("spec of the pod or its template; null for a kind without a pod.", null=True),
    )


def _container() -> Schema:
    return record(
        "One container, or one image volume.",
        name=text("Name of the container or volume."),
        kind=text("What it is. Nothing runs in a volume.", one_of=("container", "init", "ephemeral", "volume")),
        path=text("Where it stands in the object, such as spec.template.spec.containers[0]."),
        image=text("The image as written; the key into `images`."),
        digest=digest(
            "Digest of the image that was judged; null where it was not or could not be resolved.", null=True
        ),
        pinned=flag("Whether the image was written with a digest."),
        user=record(
            "The user that its first process gets: the container's securityContext, else the pod's, else the USER "
            "of the image.",
            uid=whole("null where it is not known.", null=True),
            gid=whole("null where it is not known.", null=True),
            name=text('User name; "" where there is none.'),
            source=text(
                "Where the user comes from.",
                one_of=("container", "pod", "image", "unset", "unresolved"),
            ),
            root=_root(),
            runAsNonRoot=flag(
                "runAsNonRoot of the container, else of the pod; null where neither says. With true, the kubelet "
                "itself refuses to start uid 0 and users that are no number.",
                null=True,
            ),
        ),
        spec=opened("The container (or image volume) as written, environment values replaced."),
    )


# -- images ---------------------------------------------------------------------------------------------------


def _image() -> Schema:
    return record(
        "What is known of one image.",
        reference=text("The normalised reference; null where the text is no image reference.", null=True),
        registry=text("Host and port, such as docker.io or registry.example:5000.", null=True),
        repository=text("Path in the registry, such as library/nginx.", null=True),
        tag=text("null where only a digest was written, `latest` where neither was.", null=True),
        digest=digest("What the reference names: digest of the index, else of the manifest.", null=True),
        isIndex=flag("Whether it is a multi-platform index; null where it is not known.", null=True),
        staleSince=instant(
            "Since when its registry has not confirmed what is known of it, where the operator lets older answers "
            "count during an outage (registries.staleSeconds); null where all is fresh.",
            null=True,
        ),
        platforms=listed("The images of the platforms that are judged.", ref("platform")),
        **evidence_lists(),
        problems=listed(
            "Facts that could not be had.",
            record(
                "One of them.",
                stage=text("Where it arose, such as registry."),
                reason=text("Stable reason code, such as registry-unreachable."),
                retryable=flag("Whether the same request may succeed later."),
                msg=text("One sentence for people."),
            ),
        ),
    )


def _platform() -> Schema:
    return record(
        "The image of one platform.",
        platform=text("os/architecture[/variant], such as linux/arm64/v8."),
        digest=digest("Digest of its manifest."),
        created=instant("When the image says that it was built; null where it does not say.", null=True),
        ageHours=hours("Age by `created`,"),
        compressedBytes=whole("Size of its layers as pulled."),
        layers=whole("Number of layers."),
        layerList=listed(
            "The layers, the base first.",
            record(
                "One of them.",
                digest=digest("Digest of the blob."),
                diffId=digest("Digest of the tar in it; null where the image does not say.", null=True),
                mediaType=text("Such as application/vnd.oci.image.layer.v1.tar+gzip."),
                compressedBytes=whole("Size as pulled."),
                createdBy=text('The line of the history that made it; "" where that cannot be told.'),
            ),
        ),
        config=record(
            "The image configuration.",
            user=text("USER as written."),
            entrypoint=texts("ENTRYPOINT."),
            cmd=texts("CMD."),
            workingDir=text("WORKDIR."),
            envNames=texts("Names of environment variables; values are not kept."),
            exposedPorts=texts("EXPOSE, such as 8080/tcp."),
            volumes=texts("VOLUME."),
            labels={"type": "object", "description": "LABEL.", "additionalProperties": {"type": "string"}},
            healthcheck=texts("Test of HEALTHCHECK."),
            history=listed(
                "How it was built, by its own word.",
                record(
                    "One step.",
                    createdBy=text("The line as the builder wrote it."),
                    emptyLayer=flag("Made no layer."),
                    instruction=text('Of the Dockerfile, such as RUN; "" where the line is of no known form.'),
                    arguments=text("What follows the instruction."),
                    layerIndex=whole("The layer that it made, from 0; null where it made none.", null=True),
                ),
            ),
        ),
        user=record(
            "The image's USER.",
            raw=text('As written; "" where unset, which is root.'),
            uid=whole("null where it is not known.", null=True),
            gid=whole("null where it is not known.", null=True),
            name=text('User name; "" where there is none.'),
            source=text("How the uid is known.", one_of=("numeric", "passwd", "unset", "unresolved")),
            root=_root(),
        ),
        contents=_contents(),
    )


def _contents() -> Schema:
    findings = {str(name): listed(description, ref("finding")) for name, description in FINDINGS.items()}
    return closed(
        "What is in its layers. The lists mean something only where status is complete; a policy that reads them is "
        "not evaluated before that.",
        {
            "status": text("How far the look into the layers came.", one_of=tuple(map(str, ContentsStatus))),
            "files": whole("Number of files in the merged tree.", null=True),
            "bytes": whole("Size of these files.", null=True),
            "os": record(
                "From os-release, and what the files themselves say.",
                id=text("Such as debian.", null=True),
                versionId=text("Such as 12.", null=True),
                idLike=texts("ID_LIKE."),
                name=text("PRETTY_NAME.", null=True),
                distroless=flag("Neither a shell nor a package manager.", null=True),
                libc=text('glibc, musl, both, or "" for none.', null=True),
            ),
            "layers": listed(
                "What each layer brings, in the order of layerList.",
                record(
                    "One layer.",
                    digest=digest("Digest of the blob."),
                    bytes=whole("Size of its tar."),
                    files=whole("Files and links in it."),
                ),
            ),
            **findings,
            "libcMismatches": listed("Compiled extensions for another C library than the system has.", ref("finding")),
            "application": _application(),
            "packages": {
                "description": "Installed packages, in the input only where a policy reads them.",
                "anyOf": [{"type": "array", "items": _package()}, {"type": "null"}],
            },
        },
    )


def _application() -> Schema:
    schema = record(
        "Files of the application: below WORKDIR, the entrypoint's own, and those of /app, /srv and the like.",
        roots=texts("Folders that were taken for it."),
        files=whole("Regular files."),
        ownedByRoot=whole("Of these, owned by uid 0."),
        ownedByUser=whole("Owned by the image's user."),
        ownedByOthers=whole("Owned by anybody else."),
        writable=listed("What the image's user may change.", ref("finding")),
        foreign=listed("What belongs to neither root nor the image's user.", ref("finding")),
        rewrittenBytes=whole("Bytes held twice because only owner or mode were changed in a later layer."),
    )
    return or_null(schema)


def _package() -> Schema:
    return record(
        "One package.",
        manager=text("dpkg, apk, rpm or python."),
        name=text("Its name."),
        version=text("Its version."),
        architecture=text('"" where not said.'),
        layerIndex=whole("The layer that brought it."),
    )


def _finding() -> Schema:
    return record(
        "One finding in the files of an image.",
        path=text('Absolute in the image; "" for a finding in the history.'),
        what=text("What it is, such as gcc."),
        rule=text("Rule of the catalogue that found it."),
        layer=text("Digest of the layer that holds it."),
        layerIndex=whole("That layer's place, from 0, the base first."),
        createdBy=text('The line of the history that made the layer; "" where that cannot be told.'),
        deleted=flag("A later layer removes it; whoever pulls the image has it all the same."),
        mode=text("Permission bits in octal, such as 4755."),
        uid=whole("Owner."),
        gid=whole("Group."),
        size=whole("Bytes."),
        count=whole("Files that it stands for: more than one for a folder of them."),
    )
