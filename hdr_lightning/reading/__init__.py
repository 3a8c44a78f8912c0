"""What a run, an evaluation or an ablation left in its folder, read back, and drawn for notebooks and papers.

>>> from hdr_lightning import reading
>>> run = reading.read_run("runs/demo")  # doctest: +SKIP
>>> reading.draw_curves(run).savefig("curves.png")  # doctest: +SKIP
"""

from hdr_lightning.ablation.drawing import draw_points, draw_search
from hdr_lightning.drawing import Drawing
from hdr_lightning.reading.comparison import compare_table, draw_differences, means_table
from hdr_lightning.reading.curves import draw_curves
from hdr_lightning.reading.measured import Measured, read_measured
from hdr_lightning.reading.photos import draw_rows, draw_worst
from hdr_lightning.reading.points import cost_table, draw_cost, draw_gains, gains_table
from hdr_lightning.reading.run import Curve, RaisedFlag, RunReading, read_run
from hdr_lightning.reading.table import Table
from hdr_lightning.reading.terms import Cosines, Shares, draw_cosines, draw_shares

__all__ = [
    "Cosines",
    "Curve",
    "Drawing",
    "Measured",
    "RaisedFlag",
    "RunReading",
    "Shares",
    "Table",
    "compare_table",
    "cost_table",
    "draw_cosines",
    "draw_cost",
    "draw_curves",
    "draw_differences",
    "draw_gains",
    "draw_points",
    "draw_rows",
    "draw_search",
    "draw_shares",
    "draw_worst",
    "gains_table",
    "means_table",
    "read_measured",
    "read_run",
]
