"""What a test wrote of its photos."""

import csv


def measured(folder):
    """The rows of `photos.csv`: of each photo its output, and with `untouched_` before it what holds for its source."""
    with (folder / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sources = {row["photo"]: row for row in rows if row["contender"] == "source"}
    assert len(sources) * 2 == len(rows)
    return [
        row | {f"untouched_{name}": value for name, value in sources[row["photo"]].items()}
        for row in rows
        if row["contender"] != "source"
    ]
