"""The way around FastAPI leads to the same answers, and nowhere it should not."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import JSONResponse, Response

from api import errors
from api.express import Express, Shortcut, shortcuts
from api.middleware import Surroundings

router = APIRouter()


async def sender(request: Request) -> str:
    return request.headers.get("x-sender", "nobody")


Sender = Annotated[str, Depends(sender)]


@router.get("/things/{thing}")
@router.head("/things/{thing}")
async def show(thing: str, request: Request, who: Sender, page: int = 1) -> Response:
    if thing == "secret":
        raise errors.ApiError(403, "SECRET", "No.")
    if thing == "broken":
        raise ZeroDivisionError
    return JSONResponse({"thing": thing, "who": who, "page": page, "matched": "router" in request.scope})


@router.get("/searches")
async def search(words: str) -> Response:
    return JSONResponse(words)


@pytest.fixture
async def client() -> Any:
    app = FastAPI()
    errors.install(app)
    app.include_router(router)
    app.add_middleware(Surroundings)
    express = Express(app, shortcuts=shortcuts(show, routers=[router]), around=Surroundings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(express), base_url="http://test") as client:
        yield client


async def test_the_most_asked_way_is_the_short_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/kettle", headers={"X-Sender": "maya"})
    assert answer.json() == {"thing": "kettle", "who": "maya", "page": 1, "matched": False}


async def test_a_query_is_fastapis(client: httpx.AsyncClient) -> None:
    assert (await client.get("/things/kettle?page=2")).json()["page"] == 2
    assert (await client.get("/things/kettle?page=2")).json()["matched"]
    assert (await client.get("/things/kettle?page=two")).status_code == 422


@pytest.mark.parametrize("query", ["utm_source=mail&utm_medium=x", "fbclid=IwAR0x", "gclid=a_b", "next=1", "", "a"])
async def test_a_query_that_the_endpoint_does_not_read_costs_nothing(client: httpx.AsyncClient, query: str) -> None:
    answer = (await client.get(f"/things/kettle?{query}")).json()
    assert answer == {"thing": "kettle", "who": "nobody", "page": 1, "matched": False}


async def test_a_name_in_another_spelling_is_read(client: httpx.AsyncClient) -> None:
    assert (await client.get("/things/kettle?p%61ge=3")).json()["page"] == 3


async def test_a_wrong_method_names_all_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.put("/things/kettle")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_other_methods_and_paths_are_fastapis(client: httpx.AsyncClient) -> None:
    assert (await client.head("/things/kettle")).status_code == 200
    assert (await client.post("/things/kettle")).status_code == 405
    assert (await client.get("/things/kettle/parts")).status_code == 404


async def test_errors_read_the_same(client: httpx.AsyncClient) -> None:
    short, long = await client.get("/things/secret"), await client.get("/things/secret?page=1")
    assert (short.status_code, long.status_code) == (403, 403)
    assert short.json()["error"] == long.json()["error"]


async def test_both_ways_carry_the_ids_once(client: httpx.AsyncClient) -> None:
    for way in ("/things/kettle", "/things/kettle?page=1", "/things/secret", "/nothing"):
        answer = await client.get(way, headers={"X-Request-ID": "req_1"})
        assert answer.headers.get_list("x-request-id") == ["req_1"]
        assert len(answer.headers.get_list("x-trace-id")) == 1


async def test_a_bug_reads_the_same(client: httpx.AsyncClient) -> None:
    short, long = await client.get("/things/broken"), await client.get("/things/broken?page=1")
    assert (short.status_code, long.status_code) == (500, 500)
    assert short.json()["error"] == long.json()["error"]


def test_an_endpoint_that_needs_more_is_refused() -> None:
    [route] = [route for route in router.routes if getattr(route, "endpoint", None) is search]
    with pytest.raises(TypeError, match="words"):
        Shortcut(route, "GET")  # type: ignore[arg-type]
