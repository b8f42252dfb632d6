"""The one error that is the user's to mend."""


class InputError(Exception):
    """What was given is wrong; the message is one line that names the thing and the limit."""
