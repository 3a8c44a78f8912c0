"""How much memory there is to work in."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

RESERVE = 0.05
"""Share of the free memory that is left alone, for what else happens meanwhile."""


def free_memory(device: torch.device) -> float:
    """Bytes that are free on a device, less a reserve; on a CPU within the limits of a container or a job."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # held by PyTorch, and unused
    elif device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    else:
        free = min([psutil.virtual_memory().available, *left_of_limits()])
    return (1 - RESERVE) * free


def left_of_limits(root: Path = Path("/")) -> Iterator[int]:
    """Bytes that control groups of Linux leave this process: what limits containers, and jobs of SLURM.

    Args:
        root: where `proc` and `sys` are.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # no Linux
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(root / "sys/fs/cgroup/memory", path, *names)


def _left(mount: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    """What a group and all above it leave; the cache of files, which is given up when memory is wanted, is left, too.

    Inside a container the path may be that outside of it; its own group is then the mount itself.
    """
    folder = mount / path.lstrip("/")
    for group in (folder, *folder.parents):
        if group == mount.parent:
            return
        try:
            most = (group / limit).read_text().strip()
            used = int((group / usage).read_text())
            cache = dict(entry.split() for entry in (group / "memory.stat").read_text().splitlines())
        except OSError:
            continue  # the topmost group of all has no limit
        if most != "max":
            yield int(most) - used + int(cache.get(reclaimable, 0))
