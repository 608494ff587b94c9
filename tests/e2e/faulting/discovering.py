"""What an API server takes pods in, by its own OpenAPI documents."""

import re
from collections.abc import Iterator
from typing import Any

from e2e.cluster.api import Api
from e2e.cluster.objects import JSON


def carriers(api: Api) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """(group, resource with sub-resource) to (group, kind), of each that is written with an image in it."""
    for entry in api.get("/openapi/v3")["paths"].values():
        document = api.get(entry["serverRelativeURL"])
        schemas = document.get("components", {}).get("schemas", {})
        with_image = reaching(schemas)
        for path, item in document["paths"].items():
            resource = re.fullmatch(
                r"/apis?/(?:(?P<group>[a-z0-9.]+)/)?v[0-9a-z]+/(?:namespaces/\{namespace\}/)?"
                r"(?P<resource>[a-z]+)(?:/\{name\})?(?P<sub>/[a-z]+)?",
                path,
            )
            for verb in ("post", "put"):
                body = item.get(verb, {}).get("requestBody")
                if resource is None or body is None or with_image.isdisjoint(references(body)):
                    continue
                kind = item[verb]["x-kubernetes-group-version-kind"]
                name = f"{resource['resource']}{resource['sub'] or ''}"
                yield (resource["group"] or "", name), (kind["group"], kind["kind"])


def reaching(schemas: JSON) -> set[str]:
    """Names of the schemas in which, at any depth, an image is named that a node pulls."""
    wanted = re.compile(r"\.(Container|EphemeralContainer|ImageVolumeSource)$")
    found = {name for name in schemas if wanted.search(name)}
    while more := {name for name, schema in schemas.items() if name not in found and found & references(schema)}:
        found |= more
    return found


def references(schema: Any) -> set[str]:
    return set(re.findall(r"'#/components/schemas/([^']+)'", repr(schema)))
