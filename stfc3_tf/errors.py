"""The error a user can mend: wrong file, wrong setting, no room left."""


class UserError(Exception):
    """Bad input. The message names the file or setting and how to mend it; commands print it alone."""
