"""Why an engine answers no more, apart from it: those who only ask about it need not import torch."""


class QueueFull(Exception):
    """As many requests wait as may wait."""


class EngineFailed(Exception):
    """The step loop has died; this engine answers no more."""
