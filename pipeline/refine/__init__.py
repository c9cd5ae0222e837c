"""From scores to better scores and masks."""
