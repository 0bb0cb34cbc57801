"""Programs that this process starts, and their end: none of what they started in turn is left behind.

On Linux the kernel helps. Processes whose parent has died become children of this one (a subreaper), so none escapes
the list; and should this process be killed outright, the programs get their stop signal from the kernel. On macOS the
list is what `notice()` has seen, and a kill -9 of this process leaves the programs running.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

STRAGGLER_S = 5.0  # programs have ended; what they started ends by itself within this time, or is killed
KILL_S = 10.0
POLL_S = 0.1

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_ON_LINUX = sys.platform == "linux"


@dataclass(frozen=True)
class Program:
    name: str
    log: Path  # both its outputs
    stop_signal: signal.Signals  # asks it to end in good order
    process: subprocess.Popen[bytes]

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()


class Processes:
    def __init__(self) -> None:
        self.programs: list[Program] = []
        self._seen: set[psutil.Process] = set()
        if _ON_LINUX:
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        stop_signal: signal.Signals,
        env: Mapping[str, str],
        cwd: Path,
    ) -> Program:
        """In a session of its own: a Ctrl-C at the terminal reaches only this process, which ends them in order."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(stop_signal) if _ON_LINUX else None,
            )
        program = Program(name, log, stop_signal, process)
        self.programs.append(program)
        return program

    def ended(self) -> Program | None:
        """A program that has ended, if any."""
        return next((program for program in self.programs if program.exit_code is not None), None)

    def notice(self) -> list[psutil.Process]:
        """All that was started and lives. Call it now and then: outside Linux, orphans are known only from here."""
        running = {program.process.pid for program in self.programs if program.exit_code is None}
        self._seen.update(psutil.Process().children(recursive=True))
        others = [process for process in self._seen if process.pid not in running]
        ended, _ = psutil.wait_procs(others, timeout=0)  # also takes the exit codes of adopted orphans
        self._seen.difference_update(ended)
        return list(self._seen)

    def stop(self, patience_s: float, hurry: Callable[[], bool]) -> list[psutil.Process]:
        """Ask all programs to end, wait, and kill what is left after `patience_s` or as soon as `hurry()`.

        Returns what even a kill did not end; normally empty.
        """
        for program in self.programs:
            if program.exit_code is None:
                program.process.send_signal(program.stop_signal)
        _wait(self._programs_ended, patience_s, hurry)
        _wait(lambda: not self.notice(), STRAGGLER_S, hurry)
        _wait(self._all_killed, KILL_S, hurry=lambda: False)
        return self.notice()

    def _programs_ended(self) -> bool:
        self.notice()
        return all(program.exit_code is not None for program in self.programs)

    def _all_killed(self) -> bool:
        left = self.notice()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return not left


def _wait(until: Callable[[], bool], within_s: float, hurry: Callable[[], bool]) -> None:
    deadline = time.monotonic() + within_s
    while not until() and time.monotonic() < deadline and not hurry():
        time.sleep(POLL_S)


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    """To run in the child, before its program starts: the kernel sends it `stop_signal` when its parent dies."""
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:  # too late, it has died just now
            os._exit(1)

    return ask_the_kernel
