"""How long saving stops a training: our thread beside Lightning's plain saving of the same state.

    python docs/saving_figures.py

Saves weights and AdamW's state of Restormer (dim 48) in either way by turns, and times the steps of a small NAFNet that
trains beside the thread.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from hdr_lightning.checkpoints import CheckpointWriter
from hdr_lightning.generators import NAFNet, Restormer

ROUNDS = 7


def seconds(work: Callable[[], object]) -> float:
    """Time a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def state_of_a_training() -> dict[str, object]:
    """Weights, and two moments for each, as AdamW keeps them."""
    weights = Restormer(dim=48).state_dict()
    moments = {name: {"exp_avg": torch.rand_like(v), "exp_avg_sq": torch.rand_like(v)} for name, v in weights.items()}
    return {"state_dict": weights, "optimizer_states": [{"state": moments}]}


def step_of_a_training() -> Callable[[], object]:
    """A step of NAFNet, about a tenth of a second."""
    network = NAFNet(width=16)
    optimizer = torch.optim.AdamW(network.parameters())
    picture = torch.rand(2, 3, 96, 96)

    def step() -> None:
        optimizer.zero_grad()
        (network(picture) - picture).abs().mean().backward()
        optimizer.step()

    return step


def main() -> None:
    """Print the table."""
    state, step = state_of_a_training(), step_of_a_training()
    plain, ours = TorchCheckpointIO(), CheckpointWriter()
    times: dict[str, list[float]] = {"plain": [], "call": [], "whole": [], "alone": [], "beside": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.ckpt"
        for _ in range(ROUNDS):
            times["plain"].append(seconds(lambda: plain.save_checkpoint(state, path)))
            times["alone"] += [seconds(step) for _ in range(5)]
            start = time.perf_counter()
            times["call"].append(seconds(lambda: ours.save_checkpoint(state, path)))
            while ours.busy:
                times["beside"].append(seconds(step))
            ours.wait()
            times["whole"].append(time.perf_counter() - start)
        size = path.stat().st_size
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"{size / 1e6:.0f} MB, medians of {ROUNDS} rounds, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"plain saving stops the training for           {middle['plain']:.3f} s")
    print(f"ours stops it for                             {middle['call']:.3f} s")
    print(f"and has checked, synced and renamed it after  {middle['whole']:.3f} s")
    print(f"a step alone                                  {middle['alone']:.3f} s")
    print(f"a step beside the thread                      {middle['beside']:.3f} s")


if __name__ == "__main__":
    main()
