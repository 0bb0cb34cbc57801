"""Why an engine does not answer, apart from it: those who only ask about it need not import torch.

They travel between processes by pickle, so each is made of its text alone.

Exception
├── QueueFull      this request was not taken, as many wait as may wait; another engine, or a later time, has room
├── ReplyFailed    this reply cannot be finished, and its engine goes on with the others
└── EngineFailed   the step loop has died or hangs: this engine answers no more, another one can
"""


class QueueFull(Exception):
    """As many requests wait as may wait."""


class ReplyFailed(Exception):
    """The model's scores are not numbers, or memory did not suffice.

    The former happens again wherever the same model reads the same prompt, the latter perhaps not: whoever hands such a
    request on to another engine should do so once.
    """


class EngineFailed(Exception):
    """The step loop has died, or makes no progress; this engine answers no more."""
