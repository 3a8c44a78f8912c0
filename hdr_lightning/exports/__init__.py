"""Networks in the formats in which they leave this package, and back."""
