"""What generators cost side by side: parameters, operations, memory, time; beside the published code where it is."""

from hdr_lightning.benchmark.kept import kept_bytes
from hdr_lightning.benchmark.networks import published_network
from hdr_lightning.benchmark.verb import benchmark

__all__ = ["benchmark", "kept_bytes", "published_network"]
