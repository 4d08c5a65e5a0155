"""The OpenAPI document, finished: what generators of clients need beyond what FastAPI says of the routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi.routing import APIRoute

from api import openapi

Document = dict[str, Any]


def operation_id(route: APIRoute) -> str:
    """The name of the function that answers: clients call it by that."""
    return route.name


def finished(document: Document) -> Document:
    """*document* with its components, names, headers, Segment's bodies and webhooks."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {**openapi.BEARER, **openapi.WRITE_KEY}
    schemas = components.setdefault("schemas", {})
    schemas |= {"Error": openapi.ERROR, **openapi.bodies(), **openapi.SEGMENT_SCHEMAS, **openapi.WEBHOOK_SCHEMAS}
    components["headers"] = openapi.HEADERS
    components["parameters"] = {"IdempotencyKey": openapi.IDEMPOTENCY_KEY}
    document["webhooks"] = openapi.webhooks()
    document["paths"] |= openapi.segment_paths()
    for operation in _operations(document):
        _name_headers(operation)
        if operation["operationId"] == "create_share":
            operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
    _drop_unused(document)
    return document


def _operations(document: Document) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _name_headers(operation: dict[str, Any]) -> None:
    """Where a route has a limit, what it says of it."""
    responses = operation.get("responses", {})
    if "429" not in responses:
        return
    limits = {name: {"$ref": f"#/components/headers/{name}"} for name in openapi.HEADERS if name.startswith("X-")}
    retry = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    for status, response in responses.items():
        if status == "429":
            response["headers"] = {**limits, **retry}
        elif status.startswith("2"):
            response["headers"] = dict(limits)


def _drop_unused(document: Document) -> None:
    """FastAPI brings the schemas of its own errors, which no route of ours answers."""
    schemas = document["components"]["schemas"]
    while unused := set(schemas) - set(references(document)):
        for name in unused:
            del schemas[name]


def references(node: object) -> Iterator[str]:
    """The names of the schemas that *node* refers to."""
    if isinstance(node, Mapping):
        if isinstance(found := node.get("$ref"), str):
            yield found.rpartition("/")[2]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)
