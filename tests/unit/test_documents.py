"""The generated pages are those that the code would write, and every setting says what it is for."""

from __future__ import annotations

import tomllib

import pytest
from pydantic_settings import BaseSettings

from config import settings
from config.settings import ALL
from ops import documents


@pytest.mark.parametrize("name", sorted(documents.PAGES))
def test_the_committed_page_is_current(name: str) -> None:
    assert (documents.DOCS / name).read_text() == documents.PAGES[name](), "run ./run wishlist documents"


def test_no_settings_are_left_out() -> None:
    models = {value for value in vars(settings).values() if isinstance(value, type) and issubclass(value, BaseSettings)}
    assert models - {BaseSettings} == set(ALL)


def test_every_setting_is_described() -> None:
    assert [
        f"{model.__name__}.{name}"
        for model in ALL
        for name, field in model.model_fields.items()
        if not field.description
    ] == []


def test_every_package_has_its_place_in_the_layers() -> None:
    root = documents.DOCS.parent
    linted = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {name.strip() for layer in linted["contracts"][0]["layers"] for name in layer.split("|")}
    packages = {path.parent.name for path in root.glob("*/__init__.py")} - {"bench"}
    assert packages == set(linted["root_packages"]) == layers
