"""The configuration: portcullis.yaml and PORTCULLIS_SECTION__KEY, read strictly.

Why pydantic alone and not pydantic-settings: the environment is handed in (a test or a command may have another),
an error names the file's line or the variable, and a variable that names no key is refused, which is what makes
``PORTCULLIS_SERVER__PROT`` an error instead of a silence.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from portcullis.audit.databaseurl import without_password
from portcullis.decision.modes import ANY_POLICY
from portcullis.errors import ConfigError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.policy.profiles import Profile
from portcullis.server import sections
from portcullis.server.auditsections import Audit
from portcullis.server.clustersections import Cluster
from portcullis.server.environment import overlay
from portcullis.server.files import read_bounded, read_small
from portcullis.server.scoping import ExceptionSection, distinct_ids
from portcullis.server.sectionbase import Section
from portcullis.server.sections import LimitsModel, PlatformText
from portcullis.server.telemetrysections import Telemetry
from portcullis.server.trustfiles import TrustFiles, read_trust_files
from portcullis.server.trustsections import TrustSection
from portcullis.strictyaml import Lines, Location, Rules, StrictYamlError, load_documents
from portcullis.text import clean

_RULES = Rules(max_values=100_000, max_depth=40)
"""Of the configuration, aliases written out; policy parameters are the deepest part of it."""


class Settings(Section):
    """The whole configuration. Make one with :func:`load_settings`, or ``Settings()`` for the defaults."""

    server: sections.Server = sections.Server()
    registries: sections.Registries = sections.Registries()
    trust: TrustSection = TrustSection()
    policies: sections.Policies = sections.Policies()
    exceptions: tuple[ExceptionSection, ...] = ()
    """What is let through for a while, by whom and why."""
    opa: sections.Opa = sections.Opa()
    inspection: sections.Inspection = sections.Inspection()
    audit: Audit = Audit()
    cluster: Cluster = Cluster()
    telemetry: Telemetry = Telemetry()
    platforms: tuple[PlatformText, ...] = ()
    """Those that images are judged for; none means those of the cluster's nodes, else linux/amd64 and linux/arm64."""
    limits: LimitsModel = LimitsModel()  # type: ignore[valid-type]

    @field_validator("exceptions")
    @classmethod
    def _distinct(cls, exceptions: tuple[ExceptionSection, ...]) -> tuple[ExceptionSection, ...]:
        distinct_ids(exceptions)
        return exceptions

    @model_validator(mode="after")
    def _one_shared_secret(self) -> "Settings":
        managed, path = self.server.tls.self_managed, self.cluster.caller.path_secret
        if managed is not None and managed.secret and self.cluster.webhook is None:
            raise ValueError("server.tls.selfManaged.secret needs cluster.webhook, which gets the CA")
        if managed is not None and path and managed.secret != path:
            raise ValueError("cluster.caller.pathSecret and server.tls.selfManaged.secret name one Secret")
        return self

    @property
    def shared_secret(self) -> str:
        """The Secret that replicas share; "" if there is none."""
        managed = self.server.tls.self_managed
        return self.cluster.caller.path_secret or (managed.secret if managed is not None else "")

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Settings":
        """Those that ``tree`` says, in the keys of the file. Relative paths are relative to the working directory.

        Raises:
            ConfigError: as :func:`load_settings`.
        """
        return _validated(dict(tree), Path.cwd(), None, None, {})

    @property
    def tells_callers_apart(self) -> bool:
        """Whether the API server can be told from whoever else reaches the webhook's port."""
        return bool(self.server.path_segment.get_secret_value()) or self.cluster.caller.told_apart

    def bounds(self) -> Limits:
        """The limits as the rest of the program takes them."""
        limits: sections.LimitsSection = self.limits
        return limits.bounds()

    def with_profile(self, profile: Profile) -> "Settings":
        """The same with the modes and parameters of the profile below those that it says itself, as if they were
        written out."""
        policies = self.policies
        modes = policies.modes if ANY_POLICY in policies.modes else {**profile.modes, **policies.modes}
        names = [*profile.parameters, *(name for name in policies.parameters if name not in profile.parameters)]
        parameters = {name: {**profile.parameters.get(name, {}), **policies.parameters.get(name, {})} for name in names}
        return self._changed(policies=policies.model_copy(update={"modes": modes, "parameters": parameters}))

    def with_own_engine(self) -> "Settings":
        """The same with an OPA that is started here, where another one is configured."""
        return self._changed(opa=sections.Opa(binary=self.opa.binary))

    def with_policy_folders(self, folders: Sequence[Path]) -> "Settings":
        """The same with more policy folders, which come after those of the file."""
        return self._changed(policies=self.policies.model_copy(update={"folders": (*self.policies.folders, *folders)}))

    def only_policy_folders(self, folders: Sequence[Path]) -> "Settings":
        """The same with the policies of these folders and no others."""
        return self._changed(
            policies=self.policies.model_copy(update={"builtin": False, "enabled": (), "folders": tuple(folders)})
        )

    def effective(self) -> dict[str, Any]:
        """All of it as JSON, defaults included and secrets left out; public keys are written out, because a
        decision hangs on the key and not on the name of its file.

        Raises:
            ConfigError: a key file cannot be read.
        """
        tree = self.model_dump(mode="json", by_alias=True)
        tree["server"].pop("pathSegment")
        tree.pop("telemetry")  # no decision hangs on it
        tree["cluster"].pop("caller")  # nor does a decision hang on how its caller was known
        if tree["cluster"]["webhook"] is not None:
            # No decision hangs on it, and each pod has another.
            tree["cluster"]["webhook"].pop("pod")
        if self.audit.database:
            tree["audit"]["database"] = without_password(self.audit.database)
        for key in ("sinks", "unverifiedPerMinute", "pages", "retention", "checkpoints", "replica", "journal"):
            tree["audit"].pop(key)  # no decision hangs on how it is kept and told
        tree["trust"] = self._effective_trust(tree["trust"])
        tree["inspection"]["catalogue"] = [text for _, text in self.catalogue_files]
        tree["inspection"].pop("workers")  # no decision hangs on it
        return tree

    @cached_property
    def trust_files(self) -> TrustFiles:
        """What the section ``trust`` names and does not hold itself, read once.

        Raises:
            ConfigError: a file cannot be read, or a key lies in a Secret that was not fetched
                (:meth:`with_secret_keys`).
        """
        return read_trust_files(self.trust, self.bounds())

    def with_secret_keys(self, pems: Mapping[str, str]) -> "Settings":
        """The same with the keys of ``pems`` (by signer) in the place of the Secrets that hold them."""
        signers = dict(self.trust.signers)
        for name, pem in pems.items():
            source = signers[name].key
            assert source is not None
            key = source.model_copy(update={"pem": pem, "secret": None})
            signers[name] = signers[name].model_copy(update={"key": key})
        return self._changed(trust=self.trust.model_copy(update={"signers": signers}))

    def _changed(self, **sections: Section) -> "Settings":
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return Settings.model_construct(**{**kept, **sections})  # a copy would keep the cached revision

    def _effective_trust(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Keys, certificates and roots in the place of the files that hold them: a decision hangs on these."""
        files = self.trust_files
        for name, signer in tree["signers"].items():
            for source in (signer["key"], signer["notation"]):
                if source is not None:
                    source |= {"file": None, "pem": files.pems[name]}
            if signer["notation"] is not None:
                signer["notation"]["timestampFile"] = files.timestamps.get(name)
        for name, root in tree["roots"].items():
            if root["file"] is not None:
                root["file"] = files.roots[name]
        return tree

    @cached_property
    def catalogue_files(self) -> tuple[tuple[str, str], ...]:
        """Name and text of the operator's catalogues, read once.

        Raises:
            ConfigError: a file cannot be read.
        """
        files = self.inspection.catalogue
        return tuple((str(path), read_small(path, f"inspection.catalogue.{at}")) for at, path in enumerate(files))

    @cached_property
    def revision(self) -> str:
        """``sha256:…`` of :meth:`document`."""
        return f"sha256:{hashlib.sha256(self.document).hexdigest()}"

    @cached_property
    def document(self) -> bytes:
        """The effective configuration as it is kept with the records that were made under it."""
        return json.dumps(self.effective(), sort_keys=True, separators=(",", ":")).encode()


def load_settings(path: Path | None, environ: Mapping[str, str], limits: Limits = DEFAULT_LIMITS) -> Settings:
    """Reads ``path`` (None: defaults only), overlaid with ``environ``.

    Raises:
        ConfigError: one line per fault, each with ``file:line`` or the variable's name, and the key.
    """
    value: Any = {}
    lines: Lines | None = None
    if path is not None:
        value, lines = _read_yaml(_read(path, limits), path)
        if not isinstance(value, dict):
            raise ConfigError(f"{path}:1: the configuration is not a map of sections")
    value, variables = overlay(value, environ, Settings)
    base = path.absolute().parent if path is not None else Path.cwd()
    return _validated(value, base, path, lines, variables)


def _validated(
    value: Any, base: Path, path: Path | None, lines: Lines | None, variables: Mapping[Location, str]
) -> Settings:
    try:
        return Settings.model_validate_json(json.dumps(value, ensure_ascii=True), context={"base": base})
    except ValidationError as error:
        faults = [_fault(detail, path, lines, variables) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(faults)) from None


def configuration_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of portcullis.yaml."""
    schema = Settings.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "portcullis.yaml",
    }


def _read(path: Path, limits: Limits) -> str:
    try:
        return read_bounded(path, limits.config_file_bytes).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}") from None


def _read_yaml(text: str, path: Path) -> tuple[Any, Lines]:
    try:
        documents = list(load_documents(text, _RULES))
        lines = Lines(text)
    except StrictYamlError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise ConfigError(f"{where}: {error.problem}") from None
    empty = not documents or documents[0].value is None
    return {} if empty else documents[0].value, lines


def _fault(detail: ErrorDetails, path: Path | None, lines: Lines | None, variables: Mapping[Location, str]) -> str:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    key = ".".join(clean(str(part), 80) for part in location) or "the configuration"
    return f"{_where(location, path, lines, variables)}{key}: {_problem(detail, location)}"


def _where(location: Location, path: Path | None, lines: Lines | None, variables: Mapping[Location, str]) -> str:
    """``file:line: `` or ``VARIABLE: `` of the value or of the nearest thing around it."""
    for end in range(len(location), -1, -1):
        if (variable := variables.get(location[:end])) is not None:
            return f"{variable}: "
        if lines is not None and (line := lines.get(location[:end])) is not None:
            return f"{path}:{line}: "
    return f"{path}: " if path is not None else ""


def _problem(detail: ErrorDetails, location: Location) -> str:
    if detail["type"] == "extra_forbidden":
        known = sorted(_known_keys(Settings, location[:-1]))
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
        if close:
            return f"there is no such key; did you mean {close[0]}?"
        return f"there is no such key; there are {', '.join(known)}" if known else "there is no such key"
    if detail["type"] == "missing":
        return "is required"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return message if detail["type"] == "value_error" else f"{clean(message, 300)} is expected"


def _known_keys(model: type[BaseModel], location: Location) -> set[str]:
    """The keys of the section at ``location``."""
    schema = model.model_json_schema(by_alias=True)
    node: Any = schema
    for part in location:
        node = _child(_resolved(node, schema), part)
    return set(_resolved(node, schema).get("properties", {}))


def _resolved(node: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """``node`` with its $ref followed, and the object of ``X | None``."""
    for choice in node.get("anyOf", ()):
        if "$ref" in choice:
            node = choice
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    assert isinstance(node, dict)
    return node


def _child(node: Mapping[str, Any], part: str | int) -> Any:
    if isinstance(part, int):
        return node.get("items", {})
    extra = node.get("additionalProperties")
    return node.get("properties", {}).get(part) or (extra if isinstance(extra, dict) else {})
