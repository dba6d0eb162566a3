"""Graph colouring (section B.2): a graph whose vertices can be coloured with three colours -> any
such colouring.

A colouring is proper if no edge joins two vertices of one colour. Two colourings that differ by a
permutation of the colours count as one, whose canonical form numbers the colours in the order in
which they first appear along the vertices. Two graphs are the same if their adjacency matrices are
equal: isomorphic ones may stand in both splits, equal ones never do.

As text, a graph is its edges by the numbers of their ends, from 1: ``1-2 2-3 4``; 4 is a vertex
without an edge.

GAP, what the paper leaves open beside the settings in ``gram/settings/tasks/coloring.py``:

* how n (n - 1) / 2 input tokens become n output tokens. Here every vertex has a token of its own
  behind those of the edges, and its colour is read there. These tokens are all padding, which no
  other token is, so that the vocabulary stays the paper's; a network tells them apart by their
  positions.
* whether colours are put into their canonical form before answers are counted. Here they are, so
  that an answer is right or wrong whatever its colours are called, and no colouring is counted
  twice.
* which of the training graphs, if any, validate. Here ``split.valid_fraction`` of them do, so that
  with its default 6,652 of the paper's 7,002 are trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import combinations, islice
from pathlib import Path
from random import Random

import networkx
import numpy as np
from numpy.typing import NDArray

from gram.settings.tasks.coloring import ColoringGenerator
from gram.system.errors import GramError
from gram.system.seeds import child_seed
from gram.tasks.base import PAD, Examples, Tokens

NO_EDGE, EDGE, FIRST_COLOUR = 1, 2, 3
LARGEST = 12  # vertices: the colourings that are tried against every graph grow threefold with each
BATCH = 256  # graphs that are coloured at once
PATIENCE = 100_000  # successive draws without a graph to keep, after which there is none


def canonical_colourings(n: int, colours: int) -> NDArray[np.uint8]:
    """Every way to give n vertices at most ``colours`` colours, up to their names: [P, n], in
    lexicographic order.

    Colours are numbered from 0 in the order in which they first appear.
    """
    rows = [[0]]
    for _ in range(n - 1):
        rows = [[*row, colour] for row in rows for colour in range(min(max(row) + 2, colours))]
    return np.array(rows, dtype=np.uint8)


def read_edges(text: str) -> tuple[int, list[tuple[int, int]]]:
    """The vertices of a graph in ``text``, and its edges: pairs of vertices from 0, the lower one
    first.

    Raises:
        GramError: anything but edges and vertices, or an edge from a vertex to itself.
    """
    last, edges = 0, []
    for piece in re.split(r"[\s,;/]+", text.strip()):
        found = re.fullmatch(r"([1-9]\d*)(?:-([1-9]\d*))?", piece)
        if not found:
            raise GramError(f"{piece!r} is no edge, such as 1-2, and no vertex, such as 3")
        ends = sorted(int(number) for number in found.groups() if number)
        if len(ends) == 2 and ends[0] == ends[1]:
            raise GramError(f"{piece!r} joins a vertex to itself, which no colouring allows")
        last = max(last, *ends)
        edges += [(ends[0] - 1, ends[1] - 1)] if len(ends) == 2 else []
    return last, edges


class Coloring:
    """Graph colouring of one size.

    Args:
        name: the task's name.
        n: vertices.
        settings: which graphs, and how many.
    """

    draws_tests = True
    complete = True

    def __init__(self, name: str, n: int, settings: ColoringGenerator) -> None:
        self.name = name
        self.n = n
        self.settings = settings
        self.vocabulary = FIRST_COLOUR + settings.colours  # padding, no edge, edge, colours
        self.ends = np.array(
            list(combinations(range(n), 2))
        ).T  # [2, n (n - 1) / 2], vertices that each edge token joins
        self.length = self.ends.shape[1] + n
        self.answers = slice(self.ends.shape[1], self.length)
        vertices = np.arange(n)
        self.coordinates = np.hstack(
            [self.ends, [vertices, vertices]]
        ).T  # an edge's two vertices; a vertex twice

    @classmethod
    def from_settings(cls, name: str, size: int, settings: ColoringGenerator) -> Coloring:
        """Check the size and build the task.

        Raises:
            GramError: a size that cannot be enumerated.
        """
        if not 2 <= size <= LARGEST:
            raise GramError(
                f"{name}: {size} vertices; all colourings are enumerated for 2 to {LARGEST}"
            )
        return cls(name, size, settings)

    def encode(self, edges: NDArray[np.bool_]) -> Tokens:
        """Graphs as tokens: strict upper triangles [B, n (n - 1) / 2], row by row -> [B, L], with
        the vertices' tokens.
        """
        vertices = np.full((len(edges), self.n), PAD, dtype=np.uint8)
        return np.hstack([np.where(edges, EDGE, NO_EDGE).astype(np.uint8), vertices])

    def graphs(self) -> Iterator[NDArray[np.bool_]]:
        """Random graphs without end: the strict upper triangle of each, [n (n - 1) / 2].

        Drawn with Python's ``random()``, whose stream is promised to stay as it is; NumPy's may
        change with its version.
        """
        random = Random(child_seed(self.settings.seed, "graphs"))
        while True:
            graph = networkx.gnp_random_graph(self.n, self.settings.edge_probability, seed=random)
            yield np.array([graph.has_edge(*ends) for ends in self.ends.T.tolist()])

    @cached_property
    def candidates(self) -> NDArray[np.uint8]:
        """All P :func:`canonical_colourings`: [P, n]."""
        return canonical_colourings(self.n, self.settings.colours)

    def colourings(self, edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the candidates are proper for each graph: [B, n (n - 1) / 2] -> [B, P]."""
        one, other = self.candidates.T[self.ends]
        # Conflicts as a matrix product; sums of that few ones are exact in float32.
        return np.asarray(edges.astype(np.float32) @ (one == other).astype(np.float32) == 0)

    def coloured_graphs(self) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
        """:meth:`graphs`, each with the row numbers of the candidates that are proper."""
        graphs = self.graphs()
        while True:
            batch = np.stack(list(islice(graphs, BATCH)))
            yield from zip(batch, map(np.flatnonzero, self.colourings(batch)), strict=True)

    def examples(self, sources: Path | None = None) -> Examples:
        """The first different graphs that can be coloured, with all their colourings, until test
        and then train are full.

        Where (graph, colouring) pairs are counted, a graph goes where all its colourings still fit,
        or nowhere.

        Raises:
            GramError: there are not as many such graphs as the settings ask for.
        """
        settings = self.settings
        left = {"test": settings.test, "train": settings.train}
        seen: set[bytes] = set()
        kept, numbers, tested = [], [], []
        drawn = colourable = idle = 0
        for edges, proper in self.coloured_graphs():
            drawn, colourable, idle = drawn + 1, colourable + bool(len(proper)), idle + 1
            size = len(proper) if settings.counted == "pairs" else 1
            split = next((name for name, count in left.items() if size <= count), None)
            if split and len(proper) and edges.tobytes() not in seen:
                seen.add(edges.tobytes())
                kept.append(edges)
                numbers.append(proper)
                tested.append(split == "test")
                left[split] -= size
                idle = 0
            if not any(left.values()):
                break
            if idle == PATIENCE:
                raise GramError(
                    f"{self.name}: generator: {len(kept)} graphs were found, and {PATIENCE:,} more"
                    " draws gave no other one that can be coloured and is asked for; lower train"
                    " or test, or change edge_probability"
                )
        inputs = self.encode(np.stack(kept))
        order = np.lexsort(inputs.T[::-1])  # the first token decides first
        return Examples(
            inputs=inputs[order],
            completions=self.candidates[np.concatenate([numbers[i] for i in order])]
            + np.uint8(FIRST_COLOUR),
            offsets=np.cumsum([0, *(len(numbers[i]) for i in order)]).astype(np.int64),
            given=np.stack(kept)[order].sum(axis=1),
            tested=np.array(tested)[order],
            counted={"graphs_drawn": drawn, "colourable_share": colourable / drawn},
        )

    def is_colour(self, outputs: Tokens) -> NDArray[np.bool_]:
        """Which tokens are colours, elementwise."""
        return (outputs >= FIRST_COLOUR) & (outputs < self.vocabulary)

    def conflicts(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """Edges whose ends have the same colour, or an end without one: inputs [B, L], outputs [B,
        n] -> [B, n (n - 1) / 2].
        """
        one, other = self.ends
        legal = self.is_colour(outputs)
        wrong = (outputs[:, one] == outputs[:, other]) | ~legal[:, one] | ~legal[:, other]
        return (inputs[:, : self.answers.start] == EDGE) & wrong

    def is_valid(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """A colour for every vertex, and no conflict: inputs [B, L], outputs [B, n] -> [B]."""
        legal = self.is_colour(outputs).all(axis=1)
        return np.asarray(legal & ~self.conflicts(inputs, outputs).any(axis=1))

    def symmetries(self) -> None:
        """None is used: the forms of a puzzle stand in all splits."""
        return None

    def canonical(self, inputs: Tokens, outputs: Tokens) -> Tokens:
        """Colours renamed in the order in which they first appear: [B, n] -> [B, n]; other tokens
        stay as they are.
        """
        colours = np.arange(FIRST_COLOUR, self.vocabulary)
        having = outputs[:, :, None] == colours  # [B, n, colours]
        first = np.where(having.any(axis=1), having.argmax(axis=1), self.n)
        renamed = first.argsort(axis=1, kind="stable").argsort(
            axis=1
        )  # [B, colours], the new number of each
        new = np.einsum("bnc,bc->bn", having, renamed) + FIRST_COLOUR
        return np.where(self.is_colour(outputs), new, outputs).astype(np.uint8)

    def violations(self, inputs: Tokens, outputs: Tokens) -> dict[str, NDArray[np.int64]]:
        """How many edges are in conflict; see :meth:`conflicts`."""
        return {"conflict_edges": self.conflicts(inputs, outputs).sum(axis=1)}

    @classmethod
    def size_of(cls, text: str) -> int:
        """Vertices of the graph in ``text``.

        Raises:
            GramError: anything but edges and vertices, or an edge from a vertex to itself.
        """
        return read_edges(text)[0]

    def parse(self, text: str) -> Tokens:
        """The graph in ``text``: [L] tokens.

        Raises:
            GramError: what :meth:`size_of` refuses, or another size.
        """
        size, edges = read_edges(text)
        if size != self.n:
            raise GramError(
                f"a graph of {size} vertices, but {self.name} has {self.n}; "
                "a vertex without an edge is written as its number"
            )
        return self.encode(np.array([[ends in edges for ends in zip(*self.ends, strict=True)]]))[0]

    def format(self, inputs: Tokens, outputs: Tokens) -> str:
        """The colours [n] as text, a line per vertex: ``1 A``; ``?`` for what is no colour."""
        colours = ["?"] * FIRST_COLOUR + [chr(ord("A") + c) for c in range(self.settings.colours)]
        return "\n".join(
            f"{vertex} {colours[token]}" for vertex, token in enumerate(outputs.tolist(), start=1)
        )

    def describe(self, inputs: Tokens) -> str:
        """Size of a graph [L], in words."""
        edges = int((inputs == EDGE).sum())
        return f"graph of {self.n} vertices with {edges} edge{'s' * (edges != 1)}"

    def contradiction(self, inputs: Tokens) -> str:
        """What of a graph [L] excludes any answer at first sight: nothing, ""."""
        return ""

    def unfamiliar(self, inputs: Tokens) -> str:
        """How a graph [L] differs from those of the generator: in nothing that can be told, ""."""
        return ""

    def completions(self, inputs: Tokens) -> Tokens:
        """All colourings of a graph [L]: [m, n], in ascending order as of :meth:`examples`."""
        edges = inputs[None, : self.answers.start] == EDGE
        return self.candidates[self.colourings(edges)[0]] + np.uint8(FIRST_COLOUR)


TASK = Coloring
