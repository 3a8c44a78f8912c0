import re

import pytest

from hdr_lightning.benchmark_sizes import HEADER
from hdr_lightning.cli import main


@pytest.mark.slow
def test_each_method_has_a_row_and_one_that_does_not_fit_says_why(checkpoint, photo, capsys):
    options = [f"--checkpoint={checkpoint}", f"--photo={photo(height=150, width=200)}", "--memory=0.001"]
    table = main(["benchmark-sizes", *options, "--methods=[whole,tiles]", "--tile=96", "--overlap=32"])
    assert table in capsys.readouterr().out
    header, _, whole, tiles = table.splitlines()
    assert header == HEADER
    assert "whole | the whole of 200 x 150 pixels needs 0.0 GB with NAFNet on cpu, 0.0 GB are free" in whole
    assert re.match(
        r"\| best \| 200 x 150 \| tiles of 96 \| [^|]* s \| [^|]* s \| [\d.]+ GB \| [\d.]+ GB \| [\d.]+ \|$", tiles
    )
    assert tiles.count("|") == HEADER.count("|")
