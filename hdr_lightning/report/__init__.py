"""Pages that show what an evaluation found."""
