"""Takes out of a request what must not be judged, stored or shown: the judged input is the stored input.

Replaced by a marker, in the whole request, at any depth (custom resources, ephemeral containers, lists):

1. **Whole, by structure**: values under a key ``env``, ``data`` and ``stringData`` of core Secrets, ``binaryData`` of
   ConfigMaps, and the annotation in which kubectl keeps the object once more. ``metadata.managedFields`` is dropped: it
   is large and holds no fact.
2. **Whole, by name**: fields, annotations, labels and ``{name, value}`` pairs that are called as a secret is.
3. **The secret alone, by its form** (redactiontext.py): tokens, passwords in URLs, headers, options and pairs, in every
   text: arguments, annotations, data of ConfigMaps, what the authenticator says of the user.
4. **What the operator says** (redactionrules.py).

Names stay, so that a policy can still ask which variable, key or argument is there. The images of containers and
volumes never change.
"""

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from portcullis.audit.redactionrules import NO_RULES, RedactionRules, places
from portcullis.audit.redactiontext import (
    REDACTED,
    Work,
    is_harmless,
    is_numeric_secret,
    is_secret_field,
    suspect,
    without_secret_arguments,
    without_secrets,
)
from portcullis.audit.redactiontree import DROPPED, LAST_APPLIED, Place, Tree
from portcullis.errors import RedactionError
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import ImageConfig
from portcullis.model.place import NamespaceFacts
from portcullis.model.request import AdmissionRequest

__all__ = ["LAST_APPLIED", "REDACTED", "Redacted", "Redactor"]

_SEPARATOR: Final = "\n\0\n"
"""Between texts that are looked at together; no expression reaches over it."""
_KNOWN_KEYS: Final = 20_000
_PATH_PART: Final = 100


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Redacted:
    """A request without secrets.

    Args:
        masked: JSON pointers into the policy input, of what holds something that was replaced; the first
            ``limits.masked_paths``.
        places: how many there are.
    """

    request: AdmissionRequest
    masked: tuple[str, ...] = ()
    places: int = 0


class Redactor:
    """Redacts by what holds everywhere, and by ``rules``.

    Args:
        limits: ``suspect_chars``, ``masked_paths``.
    """

    def __init__(self, rules: RedactionRules = NO_RULES, limits: Limits = DEFAULT_LIMITS) -> None:
        self._rules = rules
        self._limits = limits
        self._plain_keys: set[str] = set()
        """Keys that were looked at and say nothing: nearly all are those of the API, review after review."""

    def __call__(self, request: AdmissionRequest) -> Redacted:
        """The request without secrets. What is not changed is shared with the original, which stays as it is.

        Decide what an update changed before this: an update of environment values alone is invisible after it.
        Redacting twice is redacting once.

        Raises:
            RedactionError: it cannot be done, or not within bounds; then nothing of the request may be kept.
        """
        try:
            return self._redact(request)
        except RedactionError:
            raise
        except Exception as error:  # noqa: BLE001 - a request that cannot be redacted must not be kept
            raise _fault("request", error) from None

    def bare(self, request: AdmissionRequest) -> Redacted:
        """What may be said of a request that cannot be redacted: who asked for what, and nothing of the object."""
        return Redacted(replace(self._named(request), object=None, old_object=None, raw={}))

    def text(self, text: str) -> str:
        """One text of the request that is kept beside the document: a name, a user."""
        try:
            if suspect(text):
                text = without_secrets(text, Work(self._limits.suspect_chars))
            for pattern in self._rules.fitting(text):
                text = pattern.without(text)
        except Exception as error:  # noqa: BLE001 - the same of a text
            _fault("text", error)
            return REDACTED
        return text

    def namespace(self, facts: NamespaceFacts | None) -> NamespaceFacts | None:
        """Labels and annotations of a namespace, as of an object.

        Raises:
            RedactionError.
        """
        if facts is None or not (facts.labels or facts.annotations):
            return facts
        metadata = {"labels": dict(facts.labels), "annotations": dict(facts.annotations)}
        try:
            tree = Tree({"object": {"metadata": metadata}})
            made = tree.result(self._find(tree))["object"]["metadata"]
        except Exception as error:  # noqa: BLE001 - the same of a namespace
            raise _fault("namespace", error) from None
        return replace(facts, labels=made["labels"], annotations=made["annotations"])

    def config(self, config: ImageConfig) -> ImageConfig:
        """What an image says of itself: its arguments and labels, by names and forms as of a request. Its history is
        for whoever knows instructions of a Dockerfile.

        Raises:
            RedactionError.
        """
        commands = {"entrypoint": config.entrypoint, "cmd": config.cmd, "healthcheck": config.healthcheck}
        said = {name: {"args": list(words)} for name, words in commands.items()} | {"labels": dict(config.labels)}
        try:
            tree = Tree(said)
            made = tree.result(self._find(tree))
        except RedactionError:
            raise
        except Exception as error:  # noqa: BLE001 - the same of an image
            raise _fault("configuration of the image", error) from None
        if made is said:
            return config
        entrypoint, cmd, healthcheck = (tuple(made[name]["args"]) for name in commands)
        return replace(config, labels=made["labels"], entrypoint=entrypoint, cmd=cmd, healthcheck=healthcheck)

    def _redact(self, request: AdmissionRequest) -> Redacted:
        raw = {**request.raw, "object": request.object, "oldObject": request.old_object}
        for key in ("object", "oldObject"):
            if key not in request.raw and raw[key] is None:
                del raw[key]
        tree = Tree(raw, request.kind.kind if request.kind.group == "" else "")
        renamed = self._find(tree)
        clean: Mapping[str, Any] = tree.result(renamed)
        masked, count = self._masked(tree, renamed)
        made = replace(
            request,
            object=clean.get("object"),
            old_object=clean.get("oldObject"),
            raw=clean,
        )
        return Redacted(self._named(made) if count else made, masked, count)

    def _named(self, request: AdmissionRequest) -> AdmissionRequest:
        """The request with what it says beside its document redacted."""
        user = request.user
        return replace(
            request,
            name=self.text(request.name),
            namespace=self.text(request.namespace),
            user=replace(user, username=self.text(user.username), groups=tuple(map(self.text, user.groups))),
        )

    # -- what goes -----------------------------------------------------------------------------------------------------

    def _find(self, tree: Tree) -> Mapping[str, str]:
        """Notes in the tree what goes; returns the keys that are to be called otherwise."""
        kept, work = _Kept(tree, self._rules), Work(self._limits.suspect_chars)
        for number in tree.arguments:
            for index, text in without_secret_arguments(tree.nodes[number]).items():
                work.spend(0)
                if not kept.holds((number, index)):
                    tree.put(number, index, text)
        names, renamed = self._look_at_keys(tree.keys, work)
        if names:
            self._find_by_name(tree, names, kept, work)
        self._rules.apply(tree)
        self._find_by_form(tree, kept, work)
        return renamed

    def _look_at_keys(self, keys: set[str], work: Work) -> tuple[set[str], Mapping[str, str]]:
        """Those that name a secret, and those that hold one, with what is to stand there."""
        unknown = keys - self._plain_keys
        if not unknown:
            return set(), {}
        names = set()
        for key in filter(is_secret_field, unknown):
            work.spend(0)
            names.add(key)
        renamed: dict[str, str] = {}
        if suspect(_SEPARATOR.join(unknown)):
            made = {key: without_secrets(key, work) for key in unknown if suspect(key)}
            renamed = {key: text for key, text in made.items() if text != key}
        if len(self._plain_keys) > _KNOWN_KEYS:
            self._plain_keys.clear()
        self._plain_keys |= {key for key in unknown - names - renamed.keys() if len(key) <= _PATH_PART}
        return names, renamed

    def _find_by_name(self, tree: Tree, names: set[str], kept: "_Kept", work: Work) -> None:
        for number in tree.with_key(names):
            node = tree.nodes[number]
            for key in names & node.keys():
                work.spend(0)
                if not kept.holds((number, key)) and _is_secret(key, node[key]):
                    tree.put(number, key)
        for number, name in enumerate(tree.names):
            if name in names and type(tree.nodes[number]) is list and not kept.holds((tree.parents[number], name)):
                for index, value in enumerate(tree.nodes[number]):
                    work.spend(0)
                    if _is_secret(name, value):
                        tree.put(number, index)

    def _find_by_form(self, tree: Tree, kept: "_Kept", work: Work) -> None:
        """Texts in which something is recognised. They are looked at together first: mostly there is none."""
        everything = _SEPARATOR.join(tree.texts)
        builtin = suspect(everything)
        own = bool(self._rules.fitting(everything))
        if not builtin and not own:
            return
        for index, text in enumerate(tree.texts):
            suspected = builtin and suspect(text)
            fitting = self._rules.fitting(text) if own else []
            if not suspected and not fitting:
                continue
            place = tree.text_place(index)
            if tree.is_image(place):
                continue
            # What was put there already may have kept a part of the text: the beginning of an argument.
            made = tree.edits.get(place, text)
            if type(made) is not str:
                continue
            if suspected and not kept.holds(place):
                made = without_secrets(made, work)
            for pattern in fitting:
                made = pattern.without(made)
            if made != text:
                tree.edits[place] = made

    # -- what is said of it --------------------------------------------------------------------------------------------

    def _masked(self, tree: Tree, renamed: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
        """Where something was replaced; of variables and of the data of a Secret, what holds them all."""
        found = dict.fromkeys(tree.holder(place) for place, value in tree.edits.items() if value is not DROPPED)
        if renamed:
            found |= {(number, key): None for number in tree.with_key(set(renamed)) for key in renamed}
        shown = [self._pointer(tree.path(place), renamed) for place in list(found)[: self._limits.masked_paths]]
        return tuple(shown), len(found)

    @staticmethod
    def _pointer(path: tuple[Any, ...], renamed: Mapping[str, str]) -> str:
        """RFC 6901, the parts cut where they are very long."""
        parts = [str(renamed.get(part, part) if type(part) is str else part)[:_PATH_PART] for part in path]
        return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in ("request", *parts))


def _fault(what: str, error: Exception) -> RedactionError:
    """Logs a fault of ours without its message, in which a text could be the very secret."""
    places = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-3:]]
    log.error("redaction failed", extra={"what": what, "fault": type(error).__name__, "at": places})
    return RedactionError(
        f"the {what} could not be redacted ({type(error).__name__}); the log of the webhook tells more"
    )


class _Kept:
    """The places where the operator has the built-in patterns keep away."""

    def __init__(self, tree: Tree, rules: RedactionRules) -> None:
        self._tree = tree
        self._places = set(places(tree, rules.keep))

    def holds(self, place: Place) -> bool:
        if not self._places:
            return False
        number, key = place
        while (number, key) not in self._places:
            if number <= 0:
                return False
            number, key = self._tree.parents[number], self._tree.names[number]
        return True


def _is_secret(name: str, value: object) -> bool:
    """Whether the value of a field that is called as a secret is one."""
    if type(value) is str:
        return not is_harmless(value)
    return type(value) in (int, float) and is_numeric_secret(name) and not is_harmless(str(value))
