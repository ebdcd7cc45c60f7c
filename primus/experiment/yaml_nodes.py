"""YAML text to nodes with tags and positions, in one pass over the parser's events. yaml_file.py gives them meaning.

Unlike PyYAML's own composer it tells plain scalars from quoted ones, and refuses what would overflow the stack.
"""

from __future__ import annotations

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
        self.parser.get_event()  # start of the stream
        if isinstance(self.parser.peek_event(), yaml.StreamEndEvent):
            return None
        self.parser.get_event()  # start of the document
        root = self.node(0)
        self.parser.get_event()  # end of the document
        following: Any = self.parser.get_event()
        if not isinstance(following, yaml.StreamEndEvent):
            raise Invalid(following.start_mark.line + 1, "a second document (`---`) starts here; keep one per file")
        return root

    def node(self, depth: int) -> Any:
        event: Any = self.parser.get_event()
        start: Any = event.start_mark
        end: Any = event.end_mark
        line = start.line + 1
        if depth > _DEEPEST:
            raise Invalid(line, f"nested more than {_DEEPEST} levels deep")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise Invalid(line, f"*{event.anchor} has no anchor &{event.anchor} before it")
            return self.anchors[event.anchor]
        node: Any
        if isinstance(event, yaml.ScalarEvent):
            node = yaml.ScalarNode(_scalar_tag(event), event.value, start, end, event.style)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = yaml.SequenceNode(event.tag or "", [], start, None, event.flow_style)
        else:
            node = yaml.MappingNode(event.tag or "", [], start, None, event.flow_style)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self._fill(node, depth + 1)
        return node

    def _fill(self, node: Any, depth: int) -> None:
        if isinstance(node, yaml.SequenceNode):
            while not isinstance(self.parser.peek_event(), yaml.SequenceEndEvent):
                node.value.append(self.node(depth))
            self._end(node)
        elif isinstance(node, yaml.MappingNode):
            while not isinstance(self.parser.peek_event(), yaml.MappingEndEvent):
                node.value.append((self.node(depth), self.node(depth)))
            self._end(node)

    def _end(self, node: Any) -> None:
        event: Any = self.parser.get_event()
        node.end_mark = event.end_mark


def _scalar_tag(event: Any) -> str:
    if event.tag not in (None, "!"):
        return str(event.tag)
    return PLAIN if event.tag is None and event.implicit[0] else f"{TAG}str"
