"""The error for input a user can mend."""


class InputError(ValueError):
    """Bad input: the message is one line that names the argument, what came and what was wanted.

    The command line prints the message without a traceback and exits with code 2.
    """
