"""How tests write what a message of an error must say."""

import re

#: The keywords of a scale, as messages list them
FIVE = "var, std, logvar, logstd, precision"


def pattern(message: str) -> str:
    """A regular expression of its parts, in this order: "…" stands for anything between."""
    return ".*".join(re.escape(part) for part in message.split("…"))
