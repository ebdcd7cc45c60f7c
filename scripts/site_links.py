"""A hook of mkdocs: the pages of docs/ also link to files of the repository, which the site does not have. There such a
link becomes its text with the file's path."""

from __future__ import annotations

import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)\s]+)\)")


def on_page_markdown(markdown: str, **others: Any) -> str:
    """The page's text before it is turned into HTML."""
    return LINK.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
