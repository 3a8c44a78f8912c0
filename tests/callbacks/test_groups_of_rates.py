"""Parts with rates of their own, where steps explode and weights are averaged."""

from functools import partial

import pytest
import torch
from small_runs import train

from hdr_lightning.callbacks import EMA
from hdr_lightning.task import EnhancementTask


def test_a_roll_back_lowers_every_rate_alike(tmp_path):
    factors = dict.fromkeys((12, 13, 14), torch.nan)
    kind = partial(EnhancementTask, rates={"first": 0.1})
    with pytest.warns(UserWarning, match="roll-back 1 of 3"):
        trainer, task, _, _ = train(tmp_path, 10, factors, epochs=2, saves={9}, kind=kind)
    assert task.rate_factor == 0.5
    rates = {group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups}
    assert rates == {"first": pytest.approx(0.0005), "rest": pytest.approx(0.005)}


def test_a_step_that_explodes_in_a_held_part_is_no_such_step(tmp_path):
    """Its gradients are dropped before anyone looks, and its average stands still with it."""
    kind = partial(EnhancementTask, freeze=["first"], unfreeze_epoch=1)
    ema = EMA(0.5)
    with pytest.warns(UserWarning, match="model.freeze keeps random weights"):
        _, task, guard, after = train(
            tmp_path, 4, epochs=2, ema=ema, kind=kind, optimizer=partial(torch.optim.SGD, lr=0.1)
        )
    assert guard.skipped == 0
    assert all(torch.equal(each["first.weight"], after[0]["first.weight"]) for each in after[:4])
    assert not torch.equal(after[0]["second.weight"], after[3]["second.weight"])
    assert not torch.equal(after[4]["first.weight"], after[3]["first.weight"])
    held = [parameter for parameter in task.generator.parameters() if parameter.requires_grad]
    assert len(held) == 4
