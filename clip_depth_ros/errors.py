"""The one exception for what a user can mend."""

from __future__ import annotations


class BadInput(ValueError):
    """Something given from outside cannot be used.

    The message is one sentence: what is wrong with which file, topic or parameter, and what to do about it.
    The command line prints it and exits with code 2; the node drops the message or rejects the parameter.
    """
