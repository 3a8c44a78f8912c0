"""Parameters by pattern and by depth."""

from fnmatch import fnmatchcase

import pytest
import torch
from generators_common import SMALL, build

from hdr_lightning import generators
from hdr_lightning.errors import InputError
from hdr_lightning.generators import ColorRefiner, FeatureGuided, GainConstrained, Generator, NAFNet, ZeroConvCopy
from hdr_lightning.generators.groups import find_parameters, group_parameters, stage_of
from hdr_lightning.generators.holding import Holding

PUBLISHED = {"RetinexFormer": {"stage": 3}, "Restormer": {"in_channels": 6, "dual_pixel": True}}


def wrapped(kind):
    inner = build("NAFNet", in_channels=6 if kind is FeatureGuided else 3)
    return kind(inner, build("NAFNet")) if kind is ColorRefiner else kind(inner)


ALL = [
    *((name, lambda name=name: build(name)) for name in SMALL),
    *((f"{name} as published", lambda name=name: _meta(name)) for name in SMALL),
    *((kind.__name__, lambda kind=kind: wrapped(kind)) for kind in (ColorRefiner, FeatureGuided, GainConstrained)),
    ("ZeroConvCopy", lambda: ZeroConvCopy(build("NAFNet"), ["middle_blks"])),
]


def _meta(name):
    with torch.device("meta"):
        return getattr(generators, name)(**PUBLISHED.get(name, {}))


@pytest.mark.parametrize("make", [make for _, make in ALL], ids=[name for name, _ in ALL])
class TestStages:
    def test_every_parameter_is_in_exactly_one(self, make):
        generator = make()
        places = stage_of(generator)
        assert places.keys() == {name for name, _ in generator.named_parameters()}
        assert set(places.values()) == set(range(len(generator.stages)))

    def test_layer_decay_falls_towards_the_source(self, make):
        generator = make()
        groups = group_parameters(generator, {}, 0.5)
        factors = [group.factor for group in groups]
        assert factors == sorted(factors)
        assert factors[-1] == 1
        assert len({group.name for group in groups}) == len(groups)
        given = [p for group in groups for p in group.parameters]
        assert {id(p) for p in given} == {id(p) for p in generator.parameters() if p.requires_grad}
        assert len(given) == len({id(p) for p in given})


@pytest.mark.parametrize("name", SMALL)
def test_stages_stand_in_the_order_of_the_forward_pass(name):
    """As PyTorch sees it, of the modules that are called; the light of RetinexFormer is halved beside its features."""
    generator = build(name)
    places, called = stage_of(generator), []
    for label, module in generator.named_modules():
        own = [f"{label}.{each}" for each, _ in module.named_parameters(recurse=False)]
        if own:
            module.register_forward_hook(lambda *_, place=places[own[0]]: called.append(place))
    side = generator.stride * 2
    generator(torch.rand(1, 3, side, side))
    assert len(set(called)) > 2
    assert called == sorted(called)


def test_a_generator_of_ones_own_has_its_children_for_stages():
    class Own(Generator):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Conv2d(3, 4, 1)
            self.second = torch.nn.Conv2d(4, 3, 1)
            self.gain = torch.nn.Parameter(torch.ones(1))

        def forward(self, image):
            return self.second(self.first(image)) * self.gain

    assert stage_of(Own()) == {"gain": 0, "first.weight": 1, "first.bias": 1, "second.weight": 2, "second.bias": 2}


def test_patterns_are_those_of_fnmatch_and_names_of_parts():
    net = build("NAFNet")
    names = [name for name, _ in net.named_parameters()]
    assert find_parameters(net, "*.norm?.*", "x") == [name for name in names if fnmatchcase(name, "*.norm?.*")]
    assert find_parameters(net, "encoders.0", "x") == [name for name in names if name.startswith("encoders.0.")]
    assert find_parameters(net, "intro.bias", "x") == ["intro.bias"]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("encoder", "did you mean encoders"), ("intro.wieght", "intro.weight"), ("zzz", "its parts are intro, encoders")],
)
def test_a_pattern_that_matches_nothing_is_refused_with_near_names(pattern, told):
    with pytest.raises(InputError, match=told):
        Holding(build("NAFNet"), [pattern], None)


def test_of_several_patterns_the_last_holds_and_depth_counts_besides():
    net = build("NAFNet")
    rates = {"*": 0.5, "ending": 2.0, "*.bias": 3.0}
    factor = {id(p): group.factor for group in group_parameters(net, rates, 1.0) for p in group.parameters}
    assert factor[id(net.intro.weight)] == 0.5
    assert factor[id(net.ending.weight)] == 2
    assert factor[id(net.ending.bias)] == 3
    assert [group.name for group in group_parameters(net, rates, 1.0)] == ["all", "bias", "ending"]
    deep = {id(p): group.factor for group in group_parameters(net, rates, 0.9) for p in group.parameters}
    assert deep[id(net.intro.weight)] == pytest.approx(0.5 * 0.9 ** (len(net.stages) - 1))
    assert deep[id(net.ending.bias)] == 3


def test_names_of_groups_are_such_as_every_logger_takes():
    names = [group.name for group in group_parameters(build("DarkIR"), {"*.norm1.*": 2.0, "*norm1*": 3.0}, 0.9)]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz_0123456789./-") for name in names)
    assert len(set(names)) == len(names)


def test_nothing_left_to_train_is_refused():
    with pytest.raises(InputError, match="nothing of NAFNet is left to train"):
        Holding(build("NAFNet"), ["*"], None)


@pytest.mark.parametrize("until", [0, -1])
def test_an_epoch_that_frees_nothing_is_refused(until):
    with pytest.raises(InputError, match=r"model.unfreeze_epoch is .*: expected 1 or more"):
        Holding(build("NAFNet"), ["intro"], until)
    with pytest.raises(InputError, match="parts to free"):
        Holding(build("NAFNet"), [], 3)


def test_layers_of_frozen_parts_behave_as_in_evaluation_until_they_are_freed():
    class Normed(NAFNet):
        """With a norm that knows what it saw, and dropout: as users may write one."""

        def __init__(self):
            super().__init__(width=4, encoder_blocks=[1], middle_blocks=1, decoder_blocks=[1])
            self.head = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5))

        def forward(self, image):
            return super().forward(self.head(image))

    net = Normed().train()
    holding = Holding(net, ["head"], 2)
    holding.begin(1)
    before = {name: value.clone() for name, value in net.head.state_dict().items()}
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(net(image), net(image))
    assert all(torch.equal(value, before[name]) for name, value in net.head.state_dict().items())
    assert net.middle_blks.training
    holding.begin(2)
    net(image)
    assert net.head[2].training
    assert not torch.equal(net.head[1].running_mean, before["1.running_mean"])


def test_what_a_generator_freezes_itself_is_never_trained():
    net = wrapped(ColorRefiner).train()
    holding = Holding(net, ["backbone", "refiner.intro"], 1)
    for epoch in (0, 1):
        holding.begin(epoch)
        assert not net.backbone.training
        assert net.refiner.intro.training is (epoch == 1)
