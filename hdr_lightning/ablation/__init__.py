"""Ablations: one file names a configuration and what to vary; each point is trained for several seeds and compared."""
