"""Cells of CSV files that a spreadsheet opens as text and numbers, never as formulas.

A spreadsheet runs a cell that begins like a formula, and much of what is captured anybody can write: the path of a
page, the name of a campaign. Such a text gets an apostrophe in front. Numbers are left as they are.
"""

from __future__ import annotations

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def neutralise(value: object) -> object:
    """Return a cell: a text that begins like a formula with an apostrophe, a list as one text, the rest as it is."""
    text = value if isinstance(value, str) else ", ".join(map(str, value)) if isinstance(value, list | tuple) else None
    if text is None:
        return value
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text
