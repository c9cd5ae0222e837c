"""Errors a user can act on."""


class PseudomaskError(ValueError):
    """Something the user can mend; the message names the item and the remedy. Printed without a traceback."""
