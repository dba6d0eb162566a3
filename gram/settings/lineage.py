"""Methods that take the settings of others: ``based_on: diagonal`` in a method of an experiment
file, or a list of names.

An example::

    methods:
      diagonal: {model: {rope: diagonal}, train: {steps: 6000, beta: 3.0}}
      diagonal-quick: {based_on: diagonal, train: {steps: 600}}

diagonal-quick has diagonal's model and beta, and 600 steps. Of several names the later counts more,
and a method's own settings count most; sections are laid over each other key by key. A section
``model`` of another architecture takes nothing of the one below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gram.settings.architectures import TAG
from gram.settings.parsing import merge
from gram.system.errors import GramError, short, suggestion
from gram.system.names import check_name

BASED_ON = "based_on"
DEEPEST = 20  # methods of a chain

Sections = dict[str, dict[str, Any]]  # of a method, by name


def read_bases(value: Any, where: str) -> tuple[str, ...]:
    """The names under ``based_on``: one, or a list of them, each once; none for nothing.

    Raises:
        GramError: anything else.
    """
    if value is None:
        return ()
    names = value if isinstance(value, list) else [value]
    for name in names:
        check_name(name, where)
    if not names or len(set(names)) < len(names):
        raise GramError(
            f"{where}: {short(value)}: name one method, or a list of several, each once"
        )
    return tuple(names)


def lay_section(under: Mapping[str, Any], over: Mapping[str, Any], default: str) -> dict[str, Any]:
    """A section laid over another one, key by key; over the model of another architecture, alone.

    Args:
        under: the section that counts less.
        over: the section that counts more.
        default: the architecture of a section that names none.
    """
    other = over.get(TAG) not in (None, under.get(TAG, default))
    return dict(over) if other else merge(dict(under), dict(over))


def resolve_bases(
    methods: Mapping[str, Sections],
    bases: Mapping[str, tuple[str, ...]],
    default: str,
    where: str,
) -> dict[str, Sections]:
    """Every method's sections with those that it takes from others.

    Args:
        methods: the sections that each method states itself.
        bases: the methods on which each is based.
        default: the architecture of a section ``model`` that names none.
        where: the file, for messages.

    Raises:
        GramError: a base that is not there, a method that is based on itself in the end, or a chain
            of more than :data:`DEEPEST`.
    """
    found: dict[str, Sections] = {}
    depths: dict[str, int] = {}  # methods of the longest chain that ends with one

    def resolved(name: str, chain: tuple[str, ...]) -> Sections:
        if name in chain:
            circle = " on ".join(repr(one) for one in (*chain[chain.index(name) :], name))
            raise GramError(f"{where}: methods: {BASED_ON}: a circle: {circle}; take one out")
        if name not in found:
            whole: Sections = {}
            depths[name] = 1
            for base in bases.get(name, ()):
                if base not in methods:
                    others = [one for one in methods if one != name]
                    meant = suggestion(base, others, "known ones")
                    raise GramError(
                        f"{where}: methods: {name}: {BASED_ON}: no {short(base)}; {meant}"
                    )
                if len(chain) < DEEPEST:
                    whole = _lay(whole, resolved(base, (*chain, name)), default)
                    depths[name] = max(depths[name], 1 + depths[base])
                if len(chain) >= DEEPEST or depths[name] > DEEPEST:
                    raise GramError(
                        f"{where}: methods: {name}: {BASED_ON}: a chain of more than {DEEPEST}"
                        " methods"
                    )
            found[name] = _lay(whole, methods[name], default)
        return found[name]

    return {name: resolved(name, ()) for name in methods}


def _lay(under: Sections, over: Sections, default: str) -> Sections:
    return dict(under) | {
        name: lay_section(under.get(name, {}), section, default) for name, section in over.items()
    }


def ancestors(name: str, bases: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A method, then those that it takes settings from, nearest first; each once."""
    found = [name]
    for one in found:  # grows while it is read
        found += [base for base in bases.get(one, ()) if base not in found]
    return found


def chain_text(name: str, bases: Mapping[str, tuple[str, ...]]) -> str:
    """A method and what it is based on: ``b-quick, based on b (based on a) and c``."""
    if not bases.get(name):
        return name

    def described(one: str) -> str:
        below = " and ".join(described(base) for base in bases.get(one, ()))
        return f"{one} (based on {below})" if below else one

    return f"{name}, based on {' and '.join(described(base) for base in bases[name])}"
