"""What an evaluation says, as a table for the terminal."""

from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.evaluation.statistics import (
    Difference,
    Summary,
    compare_contenders,
    summarise_contender,
)

ENDS = 3
"""How many of the worst and best photos are named."""

NAMED = 10
"""How many photos at fault are named."""


def summary_text(evaluation: Evaluation) -> str:
    """Means with their intervals, differences with their p, worst and best photos, and what was left out."""
    names = [contender.name for contender in evaluation.contenders]
    references = [SOURCE, *names[1:2]] if len(names) > 2 else names[:1] if len(names) > 1 else []
    titles = [MEASURES[measure].title for measure in evaluation.measures]
    first, second = max(map(len, ["measure", *titles])), max(map(len, names))
    scenes = len({photo.group for photo in evaluation.photos})
    heads = [f"{'measure':<{first}}  {'of':<{second}}  photos      mean  {'95 % interval':<18}"]
    heads += [f"against {reference}".ljust(32) for reference in references]
    lines = [f"{len(evaluation.photos)} photos of {scenes} scenes", "  ".join(heads).rstrip()]
    for title, measure in zip(titles, evaluation.measures, strict=True):
        against = [compare_contenders(evaluation, measure, reference) for reference in references]
        for place, name in enumerate(names):
            cells = [f"{'' if place else title:<{first}}  {name:<{second}}", _mean(evaluation, name, measure)]
            cells += [_gain(each.get(name), MEASURES[measure].digits).ljust(32) for each in against]
            lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *_ends(evaluation), *_faults(evaluation)])


def _mean(evaluation: Evaluation, name: str, measure: str) -> str:
    found, digits = summarise_contender(evaluation, name, measure), MEASURES[measure].digits
    count = sum(value is not None for value in evaluation.values[name][measure])
    return f"{count:>6}" + (f"  {found.mean:>8.{digits}f}  {_interval(found, digits):<18}" if found else " " * 30)


def _interval(found: Summary | Difference, digits: int, sign: str = "") -> str:
    if found.low != found.low:
        return "(one scene)"
    return f"[{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"


def _gain(found: Difference | None, digits: int) -> str:
    if found is None:
        return ""
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    return f"{found.mean:+.{digits}f} {_interval(found, digits, '+')} {p}"


def _ends(evaluation: Evaluation) -> list[str]:
    """Name the photos that the first contender improves least and most."""
    names = [contender.name for contender in evaluation.contenders]
    measure = next((name for name in ("psnr", "niqe", *evaluation.measures) if name in evaluation.measures), None)
    if measure is None or len(names) < 2:
        return []
    kind = MEASURES[measure]
    sign = 1 if kind.better == "higher" else -1
    columns = [evaluation.values[name][measure] for name in names[:2]]
    gains = [
        (sign * (after - before), photo.name)
        for before, after, photo in zip(*columns, evaluation.photos, strict=True)
        if before is not None and after is not None
    ]
    gains.sort()
    half = min(ENDS, len(gains) // 2)
    lines = []
    for head, some in (("least", gains[:half]), ("most", gains[::-1][:half])):
        listed = ", ".join(f"{name} ({gain:+.{kind.digits}f})" for gain, name in some)
        lines.append(f"{names[1]} improves {kind.title} {head}: {listed}")
    return ["", *lines] if half else []


def _faults(evaluation: Evaluation) -> list[str]:
    """Name what was left out."""
    lines = []
    for contender, faults in evaluation.faults.items():
        named = "; ".join(f"{photo}: {fault}" for photo, fault in list(faults.items())[:NAMED])
        more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        lines.append(f"{contender}: {len(faults)} of {len(evaluation.photos)} photos left out: {named}{more}")
    return ["", *lines] if lines else []
