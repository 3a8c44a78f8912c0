"""Names under which a run logs, in the one place that reads them."""

PANELS: dict[str, tuple[str, ...]] = {
    "loss": ("train/loss", "val/loss"),
    "PSNR (dB)": ("val/psnr",),
    "L1": ("val/l1",),
    "SSIM": ("val/ssim",),
}
"""Curves that belong into one panel, by its title; those that were not logged are left out."""

SHARE, GRADIENT_SHARE, COSINE = "terms/share/", "gradients/share/", "gradients/cosine/"
"""Beginnings of the names of each term's share of the loss, of its gradient, and of the cosine of two gradients."""

BETWEEN = "-"
"""Between the two terms of a cosine."""

SPEED, MEMORY = "system/samples_per_second", "system/peak_memory_gb"

MONITORED = "val/psnr"
"""By which the best epoch is chosen where the configuration does not say."""

BEFORE = {
    "terms/gradient_share/": GRADIENT_SHARE,
    "terms/cosine/": COSINE,
    "train/samples_per_second": SPEED,
    "train/peak_memory_gb": MEMORY,
}
"""Beginnings of names that runs of version 0.1.0 logged, and what they are called now."""


def named(logged: str) -> str:
    """The name of a logged value as it is now, of whatever version the run is.

    >>> named("terms/cosine/l1-window"), named("val/psnr")
    ('gradients/cosine/l1-window', 'val/psnr')
    """
    for before, now in BEFORE.items():
        if logged.startswith(before):
            return now + logged.removeprefix(before)
    return logged
