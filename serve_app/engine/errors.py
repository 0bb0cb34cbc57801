"""The engine's errors. In a module of their own, so that callers in other processes need not import torch.

They are pickled between processes, so each is constructed from its message alone.

Exception
├── QueueFull      the queue is full: try another replica, or later
├── ReplyFailed    this reply cannot be finished; the engine continues with the others
└── EngineFailed   the step loop has ended or hangs: this engine completes no more requests, another replica can
"""


class QueueFull(Exception):
    """The queue holds as many requests as it may."""


class ReplyFailed(Exception):
    """The logits are not finite, or memory ran out.

    The first recurs on every replica with this model and prompt, the second perhaps not. So a caller should retry on
    another replica at most once.
    """


class EngineFailed(Exception):
    """The step loop has ended, or makes no progress."""
