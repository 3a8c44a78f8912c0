"""Two processes skip, go back and average as one does, with the weights on both (DDP) or in halves (FSDP2)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import Pairs, train
from torch.utils.data import DataLoader

from hdr_lightning.callbacks import EMA

SCRIPT = """
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader

from hdr_lightning.callbacks import EMA
from hdr_lightning.task import EnhancementTask
from small_runs import Pairs, train


class Sharded(EnhancementTask):
    def configure_model(self):
        for part in (self.generator.first, self.generator.second, self.generator):
            fully_shard(part, mesh=self.device_mesh["data_parallel"])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    kind, strategy = EnhancementTask, "ddp"
    if sys.argv[2] == "fsdp2":
        kind = Sharded
        strategy = ModelParallelStrategy(2, 1, save_distributed_checkpoint=False)
    # Of what is sick, two steps are it on the second rank alone.
    factors = {12: 1e4, 13: 1e4, 14: float("nan")}
    if os.environ.get("LOCAL_RANK") == "1":
        factors |= {20: float("nan"), 22: 1e6}
    train(
        Path(sys.argv[1]), 10, factors, epochs=3, saves={9, 30}, ema=EMA(0.9), kind=kind, batch_size=1,
        validation=DataLoader(Pairs(2), batch_size=1), strategy=strategy, devices=2, gradient_clip_val=0.5
    )
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    factors = {12: 1e4, 13: 1e4, 14: torch.nan, 20: torch.nan, 22: 1e6}
    with pytest.warns(UserWarning, match="roll-back 1 of 3"):
        train(
            folder,
            10,
            factors,
            epochs=3,
            saves={9, 30},
            ema=EMA(0.9),
            validation=DataLoader(Pairs(2)),
            gradient_clip_val=0.5,
        )
    return torch.load(folder / "step_30.ckpt", weights_only=True)


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp2"])
def test_two_ranks_are_as_one(strategy, alone, tmp_path):
    script = tmp_path / "two_ranks.py"
    script.write_text(SCRIPT)
    path = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), strategy],
        env={**os.environ, "PYTHONPATH": ":".join(path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = torch.load(tmp_path / "step_30.ckpt", weights_only=True)
    for name, state in alone["callbacks"]["GradientGuard"].items():
        assert found["callbacks"]["GradientGuard"][name] == pytest.approx(state, rel=1e-4), name
    assert found["callbacks"]["GradientGuard"]["skipped"] == 5
    assert found["callbacks"]["RollBack"]["rate"] == 0.5
    assert found["callbacks"]["EMA"] == alone["callbacks"]["EMA"]
    for kind in ("ema", "state_dict"):
        assert found[kind].keys() == alone[kind].keys()
        for name, value in alone[kind].items():
            torch.testing.assert_close(found[kind][name], value, rtol=1e-4, atol=1e-5)
