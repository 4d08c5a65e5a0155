"""The OpenAPI document is true: whatever it allows to be sent is answered as it says, and never by a 5xx."""

from __future__ import annotations

import random

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
    paths = httpx.get(f"{product.api}/openapi.json").json()["paths"]
    bodies = [
        (path, operation["requestBody"]["content"]["application/json"]["schema"])
        for path, operations in paths.items()
        for operation in operations.values()
        if "requestBody" in operation
    ]
    assert bodies
    for path, schema in bodies:
        assert schema.get("additionalProperties") is False, path
