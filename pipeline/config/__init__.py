"""Settings: pydantic models, one file per top-level key."""
