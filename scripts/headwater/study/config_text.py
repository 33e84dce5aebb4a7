"""The text of a config file, and what YAML takes in silence for something else than a reader does."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from headwater.core.errors import UserError

# ten times as fast as the loader without libyaml
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> dict[str, Any]:
    """The content of a YAML file, which must have keys; all else is refused."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            "there is no such config file", file=path, remedy="give the path of your study's config"
        ) from None
    except RecursionError:
        raise UserError("the config is nested too deeply", file=path, remedy="correct the YAML") from None
    except UnicodeDecodeError as error:
        raise UserError(f"the config is not UTF-8 text: {error}", file=path, remedy="save it as UTF-8") from None
    except OSError as error:
        what, remedy = f"the config cannot be read: {error.strerror}", "give the path of a file that you may read"
        raise UserError(what, file=path, remedy=remedy) from None
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"the config cannot be read: {error}", file=path, remedy="correct the YAML") from None
    refuse_ambiguous(path)
    if not isinstance(content, dict):
        raise UserError("the config has no `key: value` lines", file=path, remedy="see config/README.md")
    return content


def refuse_ambiguous(path: Path) -> None:
    """Refuse a readable YAML file in which a key stands twice in one place, or a number is not what it looks like."""
    refuse_ambiguous_text(path.read_text(encoding="utf-8"), file=path)


def refuse_ambiguous_text(text: str, *, file: Path | str) -> None:
    """Refuse the same in readable text of YAML."""
    for node in _nodes(yaml.compose(text, Loader=LOADER)):
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(node, file)
        elif isinstance(node, yaml.ScalarNode):
            _refuse_other_base(node, file)


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """A node and all below it, keys as well."""
    todo, seen = [root] if root else [], set()
    for node in todo:
        # an anchor may be used again, even inside itself
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            todo += [part for entry in node.value for part in entry]


def _refuse_twice(node: yaml.MappingNode, file: Path | str) -> None:
    """Refuse a key that stands twice: YAML would take the last one alone."""
    first: dict[str, yaml.Node] = {}
    for key in (key for key, _ in node.value if key.value != "<<"):
        if (before := first.setdefault(str(key.value), key)) is not key:
            lines = [at.start_mark.line + 1 for at in (key, before)]
            twice = f"line {lines[0]}: {key.value} stands in line {lines[1]} already"
            raise UserError(twice, file=file, remedy="keep one of them")


def _refuse_other_base(node: yaml.ScalarNode, file: Path | str) -> None:
    """Refuse a number that YAML 1.1 takes for another than a reader does: 010 is 8 to it, and 1:30 is 90."""
    if node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        return
    written = node.value.replace("_", "")
    octal = re.fullmatch(r"[+-]?0\d+", written) and abs(int(written)) >= 8
    if octal or ":" in written:
        taken = yaml.load(node.value, Loader=LOADER)
        why, other = ("an octal number", int(written)) if octal else ("counted in sixties", f'"{written}"')
        what = f"line {node.start_mark.line + 1}: YAML takes {node.value} for {taken}, {why}"
        raise UserError(what, file=file, remedy=f"write {taken}, or {other} if that is meant")
