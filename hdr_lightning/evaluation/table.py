"""From what was measured of one photo after the other to an `Evaluation`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hdr_lightning.evaluation.results import Contender, EvaluatedPhoto, Evaluation


class Measured(NamedTuple):
    """Of a picture.

    Attributes:
        values: a number a measure; nothing, or not a number, where the picture has no such thing.
        fault: why it counts for nothing; empty for a sound one.
    """

    values: Mapping[str, float | None]
    fault: str = ""


class Row(NamedTuple):
    """A photo, and what was measured of it for every contender, by name."""

    photo: EvaluatedPhoto
    measured: Mapping[str, Measured]


def tabulate(
    title: str,
    contenders: Sequence[Contender],
    measures: Sequence[str],
    rows: Iterable[Row],
    config: str = "",
    facts: Mapping[str, str] | None = None,
) -> Evaluation:
    """Put what was measured into columns.

    Args:
        title: of the report.
        contenders: the untouched sources first.
        measures: columns, those without any value too.
        rows: the photos.
        config: the configuration that trained the first network, as YAML.
        facts: versions, machine, date, command.
    """
    evaluation = Evaluation(title, list(contenders), [], {}, {}, config, dict(facts or {}))
    for contender in contenders:
        evaluation.values[contender.name] = {measure: [] for measure in measures}
    for photo, measured in rows:
        evaluation.photos.append(photo)
        for name, (values, fault) in measured.items():
            for measure, column in evaluation.values[name].items():
                value = None if fault else values.get(measure)
                column.append(value if value is not None and math.isfinite(value) else None)
            if fault:
                evaluation.faults.setdefault(name, {})[photo.name] = fault
    return evaluation
