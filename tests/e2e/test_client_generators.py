"""Generators make clients of /openapi.json that create, view, add and revoke (the full form: they are downloaded)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Product

HERE = Path(__file__).parent / "generated_clients"
UV = Path(__file__).parent.parent.parent / ".state" / "cache" / "uv" / "bin" / "uv"
PYTHON_GENERATOR = "openapi-python-client==0.29.1"
# What the generated client stands on.
PYTHON_LIBRARIES = ("--with", "httpx==0.28.1", "--with", "attrs==25.4.0", "--with", "python-dateutil==2.9.0.post0")
LIST, PRODUCT = "wl_8a2b3c4d5e6f", "prod_4d5e6f"
PLAYED = {
    "created": True, "viewed": True, "added": PRODUCT, "revoked": 204, "after": 404, "error": "SHARE_NOT_FOUND",
}  # fmt: skip

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif("CLIENT_GENERATORS" not in os.environ, reason="long: ./run test full"),
]


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, f"{' '.join(command[:4])}: {done.stdout[-3_000:]}{done.stderr[-3_000:]}"
    return done.stdout


def arguments(product: Product) -> list[str]:
    owner, reader = (
        product.sign_in(name)["Authorization"].removeprefix("Bearer ") for name in ("user_maya", "user_recipient")
    )
    return [product.api, owner, reader, LIST, PRODUCT]


def last_line(said: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


def test_openapi_typescript(product: Product, tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "play.ts"):
        shutil.copy(HERE / name, tmp_path)
    run(tmp_path, "npm", "ci", "--no-audit", "--no-fund")
    run(tmp_path, "npx", "openapi-typescript", f"{product.api}/openapi.json", "--output", "schema.d.ts")
    options = (
        "--strict",
        "--target",
        "es2022",
        "--module",
        "es2022",
        "--moduleResolution",
        "bundler",
        "--skipLibCheck",
    )
    run(tmp_path, "npx", "tsc", *options, "play.ts")
    assert last_line(run(tmp_path, "node", "play.js", *arguments(product))) == PLAYED


def test_openapi_python_client(product: Product, tmp_path: Path) -> None:
    shutil.copy(HERE / "play.py", tmp_path)
    (tmp_path / "openapi.json").write_bytes(httpx.get(f"{product.api}/openapi.json").content)
    command = (
        "openapi-python-client",
        "generate",
        "--path",
        "openapi.json",
        "--meta",
        "none",
        "--output-path",
        "client",
    )
    said = run(tmp_path, str(UV), "tool", "run", "--from", PYTHON_GENERATOR, *command)
    assert "Unable to process schema" not in said, said
    made = {path.stem for path in (tmp_path / "client" / "api" / "default").glob("*.py")} - {"__init__"}
    paths = httpx.get(f"{product.api}/openapi.json").json()["paths"]
    assert made == {operation["operationId"] for methods in paths.values() for operation in methods.values()}
    play = ("run", "--no-project", *PYTHON_LIBRARIES, "python", "play.py", *arguments(product))
    assert last_line(run(tmp_path, str(UV), *play)) == PLAYED
