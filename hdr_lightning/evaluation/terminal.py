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
    scenes = len({photo.group for photo in evaluation.photos})
    lines = [f"{len(evaluation.photos)} photos of {scenes} scenes; means with 95 % intervals, p corrected (Holm)"]
    for measure in evaluation.measures:
        lines += ["", *_block(evaluation, measure)]
    return "\n".join([*lines, *_ends(evaluation), *_faults(evaluation)])


def _block(evaluation: Evaluation, measure: str) -> list[str]:
    """A line a contender."""
    kind = MEASURES[measure]
    names = [contender.name for contender in evaluation.contenders]
    width = max(len(name) for name in [*names, kind.title])
    references = [SOURCE, *names[1:2]] if len(names) > 2 else [SOURCE]
    against = [compare_contenders(evaluation, measure, reference) for reference in references]
    heads = "".join(f"  {f'against {reference}':<32}" for reference in references) if len(names) > 1 else ""
    lines = [f"{kind.title:<{width}}  {'photos':>6}  {'mean':>8}  {'interval':<18}{heads}".rstrip()]
    for name in names:
        found = summarise_contender(evaluation, name, measure)
        if found is None:
            lines.append(f"{name:<{width}}  {0:>6}")
            continue
        count = sum(value is not None for value in evaluation.values[name][measure])
        gains = "".join(f"  {_gain(each.get(name), kind.digits):<32}" for each in against)
        mean = f"{found.mean:>8.{kind.digits}f}  {_interval(found, kind.digits):<18}"
        lines.append(f"{name:<{width}}  {count:>6}  {mean}{gains}".rstrip())
    return lines


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
