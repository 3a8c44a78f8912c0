"""What networks are worth: per photo, on average, against each other, and at what cost."""
