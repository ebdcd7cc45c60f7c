"""Options from the fields of a dataclass."""

import dataclasses
import enum
import types
import typing


class ArgumentGroupFactory:
    def __init__(self, kind, exclude=None):
        self.kind, self.exclude = kind, set(exclude or ())

    def build_group(self, parser, title=None):
        group = parser.add_argument_group(title=title)
        for each in dataclasses.fields(self.kind):
            if each.init and each.name not in self.exclude:
                self._add(group, each)
        return group

    def _add(self, group, each):
        facts = {"dest": each.name, "default": each.default} | self._facts(each.type)
        names = ["--" + each.name.replace("_", "-")]
        if facts.get("type") is bool:
            del facts["type"]
            facts["action"] = "store_false" if each.default else "store_true"
            if each.default:
                names = [f"--{word}-{names[0][2:]}" for word in ("no", "disable")]
        facts |= each.metadata.get("argparse_meta", {})
        group.add_argument(*facts.pop("arg_names", names), **facts)

    def _facts(self, kind):
        inner = typing.get_args(kind)
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            return self._facts(inner[0])
        if typing.get_origin(kind) is typing.Literal:
            return {"type": str, "choices": inner}
        if typing.get_origin(kind) is list:
            return self._facts(inner[0]) | {"nargs": "+"}
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return {"type": lambda text: kind[text], "choices": list(kind)}
        return {"type": kind}
