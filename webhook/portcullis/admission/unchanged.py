"""Which updates change nothing that images depend on.

Such an update is admitted without registry work, or finalizers, scale-downs and status reports would hang on every
registry. The rule asks what differs, never what somebody says about the object: an ownerReference, an annotation, a
new deletion timestamp or a smaller replica count beside a changed pod spec changes nothing here.
"""

from collections.abc import Mapping
from typing import Any

from portcullis.admission.workloads import WorkloadReader
from portcullis.errors import WorkloadError
from portcullis.model.json import JSONObject
from portcullis.model.request import AdmissionRequest, Operation
from portcullis.model.workload import Changed, Unchanged

SERVER_SET = frozenset({"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"})
"""Fields of ObjectMeta that the API server writes on its own and that no image depends on. ``deletionTimestamp`` is
server-set too, but stays in the comparison: an update never brings it (only DELETE does), so if it appears, judge.
Labels, annotations, finalizers and ownerReferences are written by clients and count.
Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md"""


def unchanged(request: AdmissionRequest, reader: WorkloadReader) -> Unchanged | Changed:
    """Compares object and old object. Call it with the request as it came: in a redacted one, an update of nothing
    but environment values would look equal. Never raises: what cannot be read is Changed."""
    if request.operation is not Operation.UPDATE or request.object is None or request.old_object is None:
        return Changed()
    try:
        new = reader.pod(request, request.object)
        old = reader.pod(request, request.old_object)
    except WorkloadError:
        return Changed()
    if new is None or old is None or not same(new.spec, old.spec):
        return Changed()
    if same(_own_fields(new.metadata), _own_fields(old.metadata)):
        return Unchanged("pod spec and pod metadata are as before")
    metadata = request.old_object.get("metadata")
    if isinstance(metadata, dict) and metadata.get("deletionTimestamp"):
        return Unchanged("the object is being deleted and its pod spec is as before")
    return Changed()


def _own_fields(metadata: JSONObject) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in SERVER_SET}


def same(left: object, right: object) -> bool:
    """Deep equality of JSON, types included: 1, 1.0 and true are three values. Linear, without recursion."""
    pairs: list[tuple[object, object]] = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if one.keys() != other.keys():
                return False
            pairs.extend((value, other[key]) for key, value in one.items())
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif type(one) is not type(other) or one != other:
            return False
    return True
