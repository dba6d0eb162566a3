"""A page as Markdown, HTML or LaTeX."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence

from gram.tables.layout import Document, Table

CSS = """
body { font: 15px/1.45 system-ui, "DejaVu Sans", Arial, sans-serif; color: #1a1a1a;
  background: #fff; margin: 1.2em; }
h1 { font-size: 1.35em; } h2 { font-size: 1.1em; margin: 1.6em 0 .3em; }
p { margin: .3em 0; max-width: 70em; }
.wide { overflow-x: auto; margin: .6em 0 1em; }
table { border-collapse: collapse; font-size: .9em; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .2em 0; }
th, td { padding: .25em .55em; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1px solid #555; font-weight: 600; }
thead tr.groups th { border-bottom: 1px solid #aaa; text-align: center; }
tbody tr:nth-child(even) { background: #f3f5f8; }
tbody tr:last-child td { border-bottom: 1px solid #555; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1em; font-size: .92em;
  max-width: 70em; }
dt { font-weight: 600; } dd { margin: 0; }
"""
LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{
        "±": r"$\pm$",
        "§": r"\S{}",
        "¶": r"\P{}",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "—": "---",
        "−": "$-$",
        "×": r"$\times$",
    },
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
}


def escaped(line: Sequence[str]) -> list[str]:
    """Cells of a Markdown table, in which a pipe would end a cell."""
    return [cell.replace("|", "\\|") for cell in line]


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table of numbers, padded to equal width so that the source is
    readable as well.
    """
    cells = [escaped(line) for line in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    first, *others = widths
    rule = "|" + "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)]) + "|"
    padded = []
    for line in cells:
        right = [cell.rjust(width) for cell, width in zip(line[1:], others, strict=True)]
        padded.append("| " + " | ".join([line[0].ljust(first), *right]) + " |")
    return [padded[0], rule, *padded[1:]]


def prose_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table of sentences: flush left, without padding."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(escaped(line)) + " |" for line in lines]


def markdown(document: Document, level: int = 1) -> str:
    """The page as Markdown, its title a heading of ``level``."""
    lines = [f"{'#' * level} {document.title}", ""]
    lines += [line for paragraph in document.text for line in (paragraph, "")]
    for section in document.sections:
        lines += [f"{'#' * (level + 1)} {section.title}", "", *section.text, ""]
        for table in section.tables:
            header = [f"{group}: {name}" if group else name for group, name in table.header]
            lines += [f"{table.caption}:", "", *pipe_table(header, table.rows), ""]
        for caption, notes in section.notes.items():
            lines += [f"{caption}:", "", *(f"- {note}" for note in notes), ""]
    lines += [f"- **{term}**: {meaning}" for term, meaning in document.legend]
    for note in document.footnotes:
        lines += ["", note]
    return "\n".join(lines).rstrip() + "\n"


def groups(table: Table) -> list[tuple[str, int]]:
    """The headings over the columns with the number of columns that each spans."""
    return [
        (group, len(list(columns)))
        for group, columns in itertools.groupby(table.header, key=lambda column: column[0])
    ]


def html_table(table: Table) -> list[str]:
    """The lines of one HTML table."""
    lines = [
        '<div class="wide"><table>',
        f"<caption>{html.escape(table.caption)}</caption>",
        "<thead>",
    ]
    if any(group for group, _ in table.header):
        cells = (f'<th colspan="{span}">{html.escape(group)}</th>' for group, span in groups(table))
        lines.append(f'<tr class="groups">{"".join(cells)}</tr>')
    heads = "".join(f"<th>{html.escape(name)}</th>" for _, name in table.header)
    lines.append(f"<tr>{heads}</tr></thead><tbody>")
    for row in table.rows:
        lines.append(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>")
    return [*lines, "</tbody></table></div>"]


def standalone_html(document: Document) -> str:
    """The page as one HTML file that needs nothing else."""
    title = html.escape(document.title)
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{title}</title>",
    ]
    lines += [
        f"<style>{CSS}</style></head><body>",
        f"<h1>{title}</h1>",
        *(f"<p>{html.escape(p)}</p>" for p in document.text),
    ]
    for section in document.sections:
        lines += [
            f"<h2>{html.escape(section.title)}</h2>",
            *(f"<p>{html.escape(p)}</p>" for p in section.text),
        ]
        lines += [line for table in section.tables for line in html_table(table)]
        for caption, notes in section.notes.items():
            lines += [
                f"<p>{html.escape(caption)}:</p>",
                "<ul>",
                *(f"<li>{html.escape(note)}</li>" for note in notes),
                "</ul>",
            ]
    lines += [
        "<dl>",
        *(
            f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>"
            for term, text in document.legend
        ),
        "</dl>",
    ]
    lines += [f"<p>{html.escape(note)}</p>" for note in document.footnotes]
    return "\n".join([*lines, "</body></html>"]) + "\n"


def latex_text(text: str) -> str:
    """Plain text for LaTeX: special characters escaped, the signs of the tables as commands."""
    return "".join(LATEX.get(character, character) for character in text)


def latex_table(table: Table, title: str) -> list[str]:
    """One table environment; a wide table is scaled down to the line."""
    lines = [r"\begin{table}[htbp]", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}"]
    lines += [
        rf"\caption{{{latex_text(title)}: {latex_text(table.caption.lower())}}}",
        r"\resizebox{\ifdim\width>\linewidth",
    ]
    lines[-1] += r"\linewidth\else\width\fi}{!}{%"
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"\toprule"]
    if any(group for group, _ in table.header):
        spans = groups(table)
        ends = list(itertools.accumulate(span for _, span in spans))
        lines.append(
            " & ".join(
                rf"\multicolumn{{{span}}}{{c}}{{{latex_text(group)}}}" for group, span in spans
            )
            + r" \\"
        )
        rules = [
            rf"\cmidrule(lr){{{end - span + 1}-{end}}}"
            for (group, span), end in zip(spans, ends, strict=True)
            if group
        ]
        lines.append("".join(rules))
    lines += [" & ".join(latex_text(name) for _, name in table.header) + r" \\", r"\midrule"]
    lines += [" & ".join(map(latex_text, row)) + r" \\" for row in table.rows]
    return [*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]


def latex(document: Document) -> str:
    """The page as a fragment to ``\\input``; it needs the packages booktabs and graphicx."""
    lines = [
        f"% {document.title}",
        r"% \usepackage{booktabs,graphicx}",
        *map(latex_text, document.text),
        "",
    ]
    for section in document.sections:
        for table in section.tables:
            lines += [*latex_table(table, section.title), ""]
        for caption, notes in section.notes.items():
            items = (rf"\item {latex_text(note)}" for note in notes)
            lines += [f"{latex_text(caption)}:", r"\begin{itemize}", *items, r"\end{itemize}", ""]
    lines += [
        r"\begin{description}",
        *(rf"\item[{latex_text(term)}] {latex_text(text)}." for term, text in document.legend),
    ]
    lines += [r"\end{description}", *map(latex_text, document.footnotes)]
    return "\n".join(lines) + "\n"
