"""Cross-validation: who trains on what, every photo measured by the network that did not see it, and all together."""
