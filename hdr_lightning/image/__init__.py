"""Mathematics of pixels: pure functions on tensors."""
