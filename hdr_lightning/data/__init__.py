"""From photo files to batches of pairs."""
