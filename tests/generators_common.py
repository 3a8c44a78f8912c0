"""Every generator, small."""

import torch

from hdr_lightning import generators

SMALL = {
    "NAFNet": {"width": 8, "encoder_blocks": (1, 1), "middle_blocks": 1, "decoder_blocks": (1, 1)},
    "Restormer": {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
    "DarkIR": {
        "width": 8,
        "encoder_blocks": (1, 1),
        "middle_encoder_blocks": 1,
        "middle_decoder_blocks": 1,
        "decoder_blocks": (1, 1),
    },
    "RetinexFormer": {"n_feat": 8, "num_blocks": (1, 1, 1)},
}


def build(name, **more):
    torch.manual_seed(0)
    generator = getattr(generators, name)(**SMALL[name], **more)
    with torch.no_grad():
        for parameter in generator.parameters():  # published starts hide half of a net behind zeros
            parameter.add_(0.1 * torch.randn_like(parameter))
    return generator
