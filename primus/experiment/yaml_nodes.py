"""YAML text to nodes with tags and positions, in one pass over the parser's events. yaml_file.py gives them meaning.

Unlike PyYAML's own composer it tells plain scalars from quoted ones, and refuses what would overflow the stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:  # PyYAML was built without libyaml

    class _Parser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):  # type: ignore[no-redef]
        def __init__(self, stream: str) -> None:
            yaml.reader.Reader.__init__(self, stream)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)


TAG = "tag:yaml.org,2002:"
PLAIN = "plain"
"""The tag of a scalar without quotes and without a tag of its own."""

_ENDS = (yaml.SequenceEndEvent, yaml.MappingEndEvent)

_DEEPEST = 50
"""Levels of nesting; far above any experiment, far below what a recursion can hold."""


def compose(text: str) -> Any:
    """The root node of the one document in `text`, or None when there is none. Raises yaml.YAMLError or Invalid."""
    return _Composer(text).document()


class Invalid(Exception):
    """Something that YAML allows and an experiment file does not."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Composer:
    def __init__(self, text: str) -> None:
        self.parser = _Parser(text)
        self.anchors: dict[str, Any] = {}

    def document(self) -> Any:
        next_event: Callable[[], Any] = self.parser.get_event
        next_event()  # start of the stream
        if type(next_event()) is yaml.StreamEndEvent:  # otherwise the start of the document
            return None
        root = self.node(next_event(), 0)
        next_event()  # end of the document
        following = next_event()
        if type(following) is not yaml.StreamEndEvent:
            raise Invalid(following.start_mark.line + 1, "a second document (`---`) starts here; keep one per file")
        return root

    def node(self, event: Any, depth: int) -> Any:
        kind = type(event)
        node: Any
        if kind is yaml.ScalarEvent:
            node = yaml.ScalarNode(_scalar_tag(event), event.value, event.start_mark, event.end_mark, event.style)
        elif kind is yaml.AliasEvent:
            return self._anchored(event)
        elif depth > _DEEPEST:
            raise Invalid(event.start_mark.line + 1, f"nested more than {_DEEPEST} levels deep")
        else:
            maker = yaml.SequenceNode if kind is yaml.SequenceStartEvent else yaml.MappingNode
            node = maker(event.tag or "", [], event.start_mark, None, event.flow_style)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        if kind is not yaml.ScalarEvent:
            self._fill(node, depth + 1)
        return node

    def _fill(self, node: Any, depth: int) -> None:
        """Read the items or pairs of a collection up to its end."""
        next_event: Callable[[], Any] = self.parser.get_event
        is_mapping = type(node) is yaml.MappingNode
        event = next_event()
        while type(event) not in _ENDS:
            item = self.node(event, depth)
            node.value.append((item, self.node(next_event(), depth)) if is_mapping else item)
            event = next_event()
        node.end_mark = event.end_mark

    def _anchored(self, alias: Any) -> Any:
        if alias.anchor not in self.anchors:
            message = f"*{alias.anchor} has no anchor &{alias.anchor} before it"
            raise Invalid(alias.start_mark.line + 1, message)
        return self.anchors[alias.anchor]


def _scalar_tag(event: Any) -> str:
    if event.tag not in (None, "!"):
        return str(event.tag)
    return PLAIN if event.tag is None and event.implicit[0] else f"{TAG}str"
