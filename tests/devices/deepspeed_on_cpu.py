"""`hdr-lightning` with DeepSpeed on a CPU, which DeepSpeed can do and Lightning does not allow."""

import os
import sys


def allow_the_cpu():
    os.environ["DS_ACCELERATOR"] = "cpu"
    import torch
    from lightning.pytorch.accelerators import CPUAccelerator
    from lightning.pytorch.strategies import deepspeed

    from hdr_lightning import training

    deepspeed.CUDAAccelerator = CPUAccelerator
    deepspeed._validate_device_index_selection = lambda devices: None
    CPUAccelerator.get_parallel_devices = staticmethod(lambda number: [torch.device("cpu", 0)])
    training.refuse_strategy = lambda *what: None


if __name__ == "__main__":
    allow_the_cpu()
    from hdr_lightning.cli import main

    main(sys.argv[1:])
