"""The feature pages cannot fall behind the catalogue."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ares.features.config import GROUPS
from ares.features.orchestrator import FeatureOrchestrator

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generated", DOCS / "generated.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_group_has_a_page_made_of_the_catalogue(generated: ModuleType) -> None:
    schema = FeatureOrchestrator().schema("1h")
    overview = (DOCS / "features" / "index.md").read_text()
    for group in GROUPS:
        page = (DOCS / "features" / f"{group}.md").read_text()
        assert f"({group}.md)" in overview
        if group == "autoencoder":  # its columns depend on a fit; they are described by hand
            continue
        made = generated.on_page_markdown(page)
        for feature in schema.features:
            if feature.recipe.group == group and "@" not in feature.name:
                assert f"`{feature.name}`" in made
                assert feature.recipe.definition in made


def test_the_picture_is_there() -> None:
    picture = (DOCS / "features" / "wavelets_week.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 150_000
    assert "wavelets_week.png" in (DOCS / "features" / "gallery.md").read_text()


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS.parent / "mkdocs.yml").read_text()
    for page in (DOCS / "features").glob("*.md"):
        assert navigation.count(f"- features/{page.name}\n") == 1, page.name
