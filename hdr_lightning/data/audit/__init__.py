"""What is wrong with a data set, found before training and told by name."""

from hdr_lightning.data.audit.checks import check_pairs, refuse_equal_photos
from hdr_lightning.data.audit.findings import Finding
from hdr_lightning.data.audit.run import audit

__all__ = ["Finding", "audit", "check_pairs", "refuse_equal_photos"]
