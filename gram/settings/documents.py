"""Reading YAML so that the same text means the same everywhere, and so that a slip is told with its
line.

What differs between versions of PyYAML, or is a mistake more often than meant, is refused: merge
keys (``<<``), a key that stands there twice, other values than text, numbers, truth values and
null, integers that are not read as they look (``010`` is 8), aliases that unfold to more than can
be meant.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gram.system import regular
from gram.system.errors import GramError, short, suggestion

SHOWN = 300  # letters of what PyYAML says of a text
LARGEST = 100_000  # values of a document, with its aliases unfolded
STANDARD = "tag:yaml.org,2002:"
PLAIN = {f"{STANDARD}{name}" for name in "str int float bool null seq map".split()}
AS_IT_LOOKS = {
    f"{STANDARD}int": re.compile(r"[-+]?(0|[1-9][0-9_]*)"),
    f"{STANDARD}float": re.compile(r"[^:]+"),  # 1:30.0 is 90.0
}


class _Refused(yaml.YAMLError):
    """What stands in a document and is not read, with its line."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(f"line {node.start_mark.line + 1}: {message}")


def parse_yaml(text: str, where: str, what: str = "YAML") -> Any:
    """The value of a YAML text; None for an empty one.

    Args:
        text: the document.
        where: the file or option it comes from, for messages.
        what: what was expected there.

    Raises:
        GramError: broken YAML, or what this module refuses; one line with ``where`` and the line of
            the text.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, loader, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except _Refused as error:
        raise GramError(f"{where}: {error}") from error
    except RecursionError as error:
        raise GramError(f"{where}: nested too deeply to be read") from error
    except (yaml.YAMLError, ValueError, IndexError) as error:
        said = " ".join(str(error).split())
        raise GramError(f"{where}: not {what}: {said[:SHOWN]}") from error


def _check(node: yaml.Node, loader: yaml.SafeLoader, sizes: dict[int, int]) -> int:
    """How many values a node and all below it are, with aliases unfolded; each node is looked at
    once.

    Raises:
        _Refused: what the head of this module names.
    """
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise _Refused(node, "a value that contains itself")
        return sizes[id(node)]
    sizes[id(node)] = 0  # under way
    if node.tag not in PLAIN:
        name = node.tag.removeprefix(STANDARD)
        raise _Refused(node, f"{_written(node)} is read as {name}; quote it if it is text")
    if isinstance(node, yaml.ScalarNode):
        expected = AS_IT_LOOKS.get(node.tag)
        if expected and not expected.fullmatch(node.value):
            read = short(loader.construct_object(node))
            raise _Refused(node, f"YAML reads {short(node.value)} as {read}; write it in decimals")
        size = 1
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node, loader)
        size = 1 + sum(_check(value, loader, sizes) for _, value in node.value)
    else:
        size = 1 + sum(_check(value, loader, sizes) for value in node.value)
    if size > LARGEST:
        raise _Refused(node, f"more than {LARGEST:,} values, with what its aliases repeat")
    sizes[id(node)] = size
    return size


def _written(node: yaml.Node) -> str:
    """How a message calls a node: as it is written, or what it is. Below it may be an alias
    bomb.
    """
    if isinstance(node, yaml.ScalarNode):
        return short(node.value)
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a sequence"


def _check_keys(node: yaml.MappingNode, loader: yaml.SafeLoader) -> None:
    """Refuse merge keys, keys that stand there twice, and keys that are no single word or number.

    Raises:
        _Refused: one of these.
    """
    lines: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == f"{STANDARD}merge":
            raise _Refused(
                key_node,
                "<< is not read, since versions of PyYAML differ in what it means; in an experiment"
                " a method takes the settings of another by `based_on: NAME`",
            )
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in PLAIN:
            raise _Refused(key_node, f"{_written(key_node)} is no key; quote it if it is text")
        key = loader.construct_object(key_node)
        if key in lines:
            raise _Refused(
                key_node,
                f"the key {short(key)} stands there twice, first in line {lines[key]}; leave one",
            )
        lines[key] = key_node.start_mark.line + 1


def read_yaml(path: Path) -> Any:
    """The value in a YAML file; None for an empty one.

    Raises:
        GramError: a missing file, one that is no text, and what :func:`parse_yaml` refuses.
    """
    if not path.exists():
        others = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise GramError(f"{path}: no such file; {suggestion(path.stem, others, 'known ones')}")
    try:
        text = regular.read_text(path)
    except UnicodeDecodeError as error:
        raise GramError(f"{path}: not a text in UTF-8 ({error.reason})") from error
    except OSError as error:
        raise GramError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_yaml(text, str(path), "a YAML file")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """``value`` if it is a mapping; {} for a key without a value.

    Raises:
        GramError: anything else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise GramError(f"{where}: expected keys and values, found {short(value)}")
    return value


def yaml_option(name: str) -> Any:
    """For ``type=`` of an argument: reads its text as YAML with keys and values.

    Args:
        name: of the argument, for messages, as ``--overrides``.
    """

    return lambda text: mapping(parse_yaml(text, name), name)
