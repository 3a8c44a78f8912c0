"""Names under which a run logs, in the one place that reads them."""

PANELS: dict[str, tuple[str, ...]] = {
    "loss": ("train/loss", "val/loss"),
    "PSNR (dB)": ("train/psnr", "val/psnr"),
    "L1": ("train/l1", "val/l1"),
    "SSIM": ("train/ssim", "val/ssim"),
}
"""Curves that belong into one panel, by its title; those that were not logged are left out."""

SHARE, GRADIENT_SHARE, COSINE = "terms/share/", "terms/gradient_share/", "terms/cosine/"
"""Beginnings of the names of each term's share of the loss, of its gradient, and of the cosine of two gradients."""

BETWEEN = "-"
"""Between the two terms of a cosine."""

SPEED, MEMORY = "train/samples_per_second", "train/peak_memory_gb"

MONITORED = "val/psnr"
"""By which the best epoch is chosen where the configuration does not say."""
