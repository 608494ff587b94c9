"""What the gate judges by, as one immutable thing: a new set of policies is one assignment, and requests in flight end
with the set that they began with."""

from dataclasses import dataclass, field
from functools import cached_property

from portcullis.decision.exceptions import Exceptions
from portcullis.decision.modes import Modes
from portcullis.model.ruling import CompiledBundle, Need


@dataclass(frozen=True)
class Standing:
    """Args:
    compiled: the policies, as the engine serves them.
    modes: the operator's modes and parameters, by place.
    exceptions: what is let through for a while.
    config_revision: names the configuration that modes and exceptions come from.
    """

    compiled: CompiledBundle
    modes: Modes = field(default_factory=Modes)
    exceptions: Exceptions = field(default_factory=Exceptions)
    config_revision: str = ""

    @cached_property
    def needs(self) -> frozenset[Need]:
        """All that any policy reads."""
        return frozenset[Need]().union(*(policy.needs for policy in self.compiled.policies))

    @cached_property
    def by_labels(self) -> bool:
        """Whether modes, parameters or exceptions hang on labels of namespaces."""
        return self.modes.by_labels or self.exceptions.by_labels


class Current:
    """Holds the standing set. Calling it gives the one to judge by now; whoever replaces it assigns ``standing``."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing

    def __call__(self) -> Standing:
        return self.standing
