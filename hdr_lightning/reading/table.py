"""Tables that a notebook and a terminal show."""

from collections.abc import Sequence
from dataclasses import dataclass

from hdr_lightning.report.tables import markdown_table


@dataclass(frozen=True)
class Table:
    """A table of text.

    >>> print(Table(("what", "dB"), [("untouched", "8.73"), ("ours", "20.89")]))
    | what | dB |
    | --- | --- |
    | untouched | 8.73 |
    | ours | 20.89 |

    Attributes:
        head: titles of the columns.
        rows: of cells.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        return markdown_table(self.head, self.rows)

    def _repr_markdown_(self) -> str:
        return str(self)
