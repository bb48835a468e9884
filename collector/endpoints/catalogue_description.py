"""The part of the OpenAPI description on what is kept: the catalogue, and that the browser's signal is obeyed."""

from __future__ import annotations

from typing import Any

from collector.config import Config
from collector.endpoints import gpc
from collector.endpoints.catalogue import find_path

_TEXT = {"type": "string"}


def describe_catalogue(config: Config) -> dict[str, Any]:
    """Return the paths."""
    signal = {
        "type": "object",
        "required": ["gpc", "lastUpdate"],
        "properties": {"gpc": {"const": True}, "lastUpdate": {"type": "string", "format": "date"}},
    }
    catalogue = {
        "type": "object",
        "required": ["version", "categories", "sites"],
        "properties": {"version": {"const": 1}, "categories": {"type": "array"}, "sites": {"type": "array"}},
    }
    content = {"application/json": {"schema": catalogue}, "text/html": {"schema": _TEXT}}
    return {
        gpc.PATH: {
            "get": {
                "summary": "That Global Privacy Control is obeyed.",
                "responses": {"200": {"description": "Always.", "content": {"application/json": {"schema": signal}}}},
            }
        },
        find_path(config): {
            "get": {
                "summary": "Which fields are kept about people, what for and for how long.",
                "parameters": [
                    _parameter("s", "Site whose retention and cookies are added."),
                    _parameter("language", "en or de; of the page."),
                ],
                "responses": {"200": {"description": "The catalogue.", "content": content}},
            }
        },
    }


def _parameter(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": _TEXT}
