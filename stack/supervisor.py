"""Keep programs running: start them in order, start a dead one again, and end them all.

A dead program is started again at once, and later and later when it keeps dying. Nothing outlives this process: the
kernel ends its children when it is gone (`tether.py`).
"""

import dataclasses
import signal
import subprocess
import time
from collections.abc import Callable

from stack.errors import Missing
from stack.programs import Program, ask_to_stop, last_lines, start, wait_or_kill

POLL_SECONDS = 0.05
FORGET_SECONDS = 60.0  # deaths longer ago do not count
LONGEST_DELAY_SECONDS = 8.0  # with the time to start it stays under the 20 s of the contract
DEATHS_BEFORE_READY = 3  # a program that never became ready and dies this often will not come


@dataclasses.dataclass
class Service:
    """Hold a program, how to tell from its pid that it is ready, and what became of it; others lean on a foundation."""

    program: Program
    is_ready: Callable[[int], bool]
    foundation: bool = False
    child: subprocess.Popen[bytes] | None = None
    deaths: list[float] = dataclasses.field(default_factory=list)


class Supervisor:
    """Own the children of this process. Use it from the main thread: they die with the thread that started them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._services: list[Service] = []

    def start(self, service: Service) -> None:
        """Start the service and watch over it from now on."""
        service.child = start(service.program)
        self._services.append(service)

    def await_ready(self, service: Service, *, timeout_seconds: float = 90) -> None:
        """Wait until the service is ready, keeping all others up; raise `Missing` when it does not come."""
        deadline = time.monotonic() + timeout_seconds
        while not (self._is_alive(service) and service.is_ready(service.child.pid if service.child else 0)):
            self.keep_up()
            if len(service.deaths) >= DEATHS_BEFORE_READY:
                raise Missing(f"{service.program.name} does not start: {last_lines(service.program.log)}")
            if time.monotonic() > deadline:
                raise Missing(
                    f"{service.program.name} is not ready after {timeout_seconds:.0f} s: "
                    f"{last_lines(service.program.log)}"
                )
            time.sleep(POLL_SECONDS)

    def keep_up(self) -> None:
        """Notice who died, and start again whose turn it is; never waits."""
        for service in self._services:
            if self._is_alive(service):
                continue
            now = time.monotonic()
            if service.child is not None:
                service.deaths = [at for at in service.deaths if now - at < FORGET_SECONDS] + [now]
                self._say(
                    f"{service.program.name} (pid {service.child.pid}) {_how_it_ended(service.child.returncode)}, "
                    f"started again in {_delay_seconds(service):.1f} s"
                )
                service.child = None
            if now >= service.deaths[-1] + _delay_seconds(service):
                service.child = start(service.program)

    def watch(self, is_over: Callable[[], bool]) -> None:
        """Keep everything up until `is_over`."""
        while not is_over():
            self.keep_up()
            time.sleep(POLL_SECONDS)

    def stop(self, *, grace_seconds: float = 10) -> None:
        """End the services, all at once, and then those that the others lean on; by force after `grace_seconds`."""
        for foundation in (False, True):
            alive = [one for one in self._services if one.foundation is foundation and self._is_alive(one)]
            children = [(one.child, one.program) for one in alive if one.child is not None]
            deadline = time.monotonic() + grace_seconds
            for child, program in children:
                ask_to_stop(child, program)
            for child, _ in children:
                wait_or_kill(child, grace_seconds=max(0.0, deadline - time.monotonic()))
        self._services.clear()

    @staticmethod
    def _is_alive(service: Service) -> bool:
        return service.child is not None and service.child.poll() is None


def _delay_seconds(service: Service) -> float:
    """Return how long to wait before the next start: nothing after the first death, then 0.5 s doubled each time."""
    return 0.0 if len(service.deaths) < 2 else min(LONGEST_DELAY_SECONDS, 0.5 * 2 ** (len(service.deaths) - 2))


def _how_it_ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
