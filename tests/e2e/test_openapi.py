"""The OpenAPI document is true: whatever it allows to be sent is answered as it says, and never by a 5xx."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import Product

EXAMPLES = 20
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_openapi(product: Product, subtests: pytest.Subtests) -> None:
    document = schemathesis.openapi.from_url(f"{product.api}/openapi.json")
    jwt = product.sign_in("user_other")
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) >= 15

    for operation in operations:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answers_as_documented(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
            # An address of its own for each request: answers, not the look-up limit, are the matter here.
            address = ".".join(str(random.randrange(1, 255)) for _ in range(3))
            case.call_and_validate(headers={**jwt, "X-Forwarded-For": f"10.{address}"}, checks=CHECKS, timeout=10)

        with subtests.test(operation=operation.label):
            answers_as_documented()


def test_every_documented_body_is_strict(product: Product) -> None:
    """Unknown fields are refused, and the document says so."""
    document = document_of(product)
    bodies = {
        path: operation["requestBody"]["content"]["application/json"]["schema"]
        for path, operation in operations_of(document)
        if "requestBody" in operation and not path.startswith("/v1/")
    }
    assert len(bodies) >= 8
    for path, schema in bodies.items():
        assert resolved(document, schema["$ref"]).get("additionalProperties") is False, path


def document_of(product: Product) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{product.api}/openapi.json").json()
    return document


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((path, operation) for operation in methods.values())


def resolved(document: dict[str, Any], reference: str) -> Any:
    """What a JSON pointer of RFC 6901 points at; raises KeyError where there is nothing."""
    assert reference.startswith("#/"), reference
    node: Any = document
    for step in reference[2:].split("/"):
        node = node[step.replace("~1", "/").replace("~0", "~")]
    return node


def references_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references_in(value)


def test_every_reference_leads_somewhere_and_every_component_is_used(product: Product) -> None:
    document = document_of(product)
    found = set(references_in(document))
    assert "#/components/schemas/Error" in found
    for reference in found:
        resolved(document, reference)
    for kind in ("schemas", "headers", "parameters"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in found, name
    assert "$defs" not in json.dumps(document)


def test_what_generators_name_things_by(product: Product) -> None:
    document = document_of(product)
    names = [operation["operationId"] for _, operation in operations_of(document)]
    assert len(names) == len(set(names))
    for name in names:
        assert re.fullmatch(r"[a-z_]{5,24}", name), name
    for name, schema in document["components"]["schemas"].items():
        assert schema["title"] == name


def test_each_json_error_has_the_one_schema(product: Product) -> None:
    seen = 0
    for path, operation in operations_of(document_of(product)):
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema")
            if status >= "400" and schema is not None and path != "/readyz":
                assert schema == {"$ref": "#/components/schemas/Error"}, (path, status)
                seen += 1
    assert seen > 100


def test_limits_and_repeats_are_told(product: Product) -> None:
    document = document_of(product)
    limited = {
        operation["operationId"]: operation["responses"]
        for _, operation in operations_of(document)
        if "429" in operation["responses"]
    }
    assert {"create_share", "look_up", "add_to_my_list"} <= set(limited)
    for responses in limited.values():
        assert set(responses["429"]["headers"]) == {
            "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After",
        }  # fmt: skip
    [key] = [
        resolved(document, one["$ref"])
        for one in document["paths"]["/api/v2/wishlists/{wishlist}/share"]["post"]["parameters"]
        if "$ref" in one
    ]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", False)


def test_times_links_and_fixed_words_have_their_types(product: Product) -> None:
    schemas = document_of(product)["components"]["schemas"]
    share = schemas["ShareState"]["properties"]
    assert share["created_at"]["format"] == "date-time"
    assert share["expires_at"]["anyOf"][0]["format"] == "date-time"
    assert share["share_url"]["format"] == "uri"
    assert share["status"]["enum"] == ["active", "expired", "revoked"]
    assert "whatsapp" in share["channel"]["enum"]
    assert schemas["WebhookData"]["properties"]["platform"]["enum"] == ["web", "mobile", "unknown"]
