"""The thin shell around the core: one queue of events in, one list of effects out, one timer.

The shell is the only writer of the node's state. An event is taken when the one before it is dealt with,
its effects are carried out in order, and what the world answers at once (a process was spawned, or could not
be) is heard before anything else that happened meanwhile. The shell decides nothing and knows no process: the
`perform` that it is given does.

Nobody is judged unheard. Whatever comes first when a deadline has passed, the timer, the end of a process or an
operator: before it is taken, the core is told how late we are, then everything that workers have said by
then, and only then the time. The readers of a daemon that was stopped run before its timer does, so this must
not be left to the timer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import get_args

from supervisord_ng import limits
from supervisord_ng.core import machine
from supervisord_ng.core.effects import Effect
from supervisord_ng.core.events import Beats, Event, Found, Lagged, Tick, Word
from supervisord_ng.core.state import NodeState
from supervisord_ng.runtime import clock
from supervisord_ng.runtime.lateness import Lateness
from supervisord_ng.runtime.recorder import Recorder

Perform = Callable[[Effect], Event | None]
"""Carries one effect out. Returns what the world says to it at once, None if that comes later or never."""

_OF_TIME = (Beats, Lagged, Tick)  # move deadlines; what else they lead to has effects
_WORDS = frozenset(get_args(Word))
_OF_THE_PAST = _WORDS | {Found}  # come before any judgement


class Shell:
    """Owns the state of the node; lives in one event loop.

    Args:
        loop: of the daemon.
        perform: carries an effect out.
        before_judging: called before deadlines are judged: feeds what workers have said by now.
        on_failure: called when the core raises: a bug of ours, after which nothing may go on.
        recorder: remembers what happened.
        on_change: given the state whenever it has changed in more than signs of life.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        perform: Perform,
        before_judging: Callable[[], None],
        on_failure: Callable[[BaseException], None],
        recorder: Recorder,
        on_change: Callable[[NodeState], None] = lambda _: None,
    ) -> None:
        self._lateness = Lateness()
        self._loop = loop
        self._perform = perform
        self._before_judging = before_judging
        self._on_failure = on_failure
        self._recorder = recorder
        self._on_change = on_change
        self._changed = False
        self._state: NodeState | None = None
        self._events: deque[Event] = deque()
        self._effects: deque[Effect] = deque()
        self._answers: deque[Event] = deque()
        self._heard: deque[Event] = deque()  # what comes before a judgement, and the judgement
        self._heard_at = 0
        self._hearing = False
        self._busy = False
        self._failed = False
        self._turn_asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: int | None = None

    @property
    def state(self) -> NodeState:
        """The state as of now."""
        assert self._state is not None, "not booted"
        return self._state

    @property
    def has_begun(self) -> bool:
        """Whether there is a state."""
        return self._state is not None

    def lag_ns(self) -> int:
        """How late deadlines were looked at, at worst in the last minute: the daemon's own lag."""
        return self._lateness.worst_ns(clock.monotonic_ns())

    @property
    def is_idle(self) -> bool:
        """Whether the core has heard everything that it was fed."""
        return not (self._events or self._heard or self._busy)

    def begin(self, state: NodeState, effects: Iterable[Effect]) -> None:
        """Take charge of a node that `machine` has booted or resumed. Nothing is carried out before `go`."""
        assert self._state is None, "begun twice"
        self._state = state
        self._recorder.begin(state)
        self._effects.extend(effects)
        self._busy = True

    def go(self, news: Iterable[Event] = ()) -> None:
        """Carry out what the node asks for, then tell it `news`, before anything else that happens."""
        self._events.extendleft(reversed(tuple(news)))
        self._changed = True
        self._busy = False
        self._turn()

    def settle(self) -> None:
        """Deal with all that has happened, however long it takes."""
        while self._turn_asked and not self._failed:
            self._turn()

    def feed(self, event: Event) -> None:
        """Something happened. It is dealt with before this returns, unless something else is just now."""
        if self._hearing and type(event) in _WORDS:
            self._heard.append(event)
            return
        self._events.append(event)
        if not self._busy and not self._turn_asked:
            self._turn()

    def close(self) -> None:
        """Wait for nothing any more."""
        self._failed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        """Deal with what has happened, a bounded amount at a time, so that a crash loop starves nobody."""
        self._turn_asked = False
        if self._failed or self._busy or self._state is None:
            return
        self._busy = True
        try:
            for _ in range(limits.SHELL_TURN_EVENTS):
                if not self._take_one():
                    break
            else:
                self._carry_out()  # who is told of the change may rely on it that this is done
                self._turn_asked = True
                self._loop.call_soon(self._turn)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is our bug, and it is told
            self.close()
            self._on_failure(error)
        finally:
            self._busy = False
        if not self._failed:
            self._arm()
            if self._changed:
                self._changed = False
                self._on_change(self.state)

    def _take_one(self) -> bool:
        """What the last event has led to, and one event; False when there is nothing left to do."""
        self._carry_out()
        now = self._heard_at if self._heard else clock.monotonic_ns()
        if self._answers:
            event = self._answers.popleft()
        elif self._heard:
            event = self._heard.popleft()
        elif self._events:
            deadline = machine.next_deadline(self.state)
            if (
                deadline is not None
                and deadline <= now
                and type(self._events[0]) not in _OF_THE_PAST
            ):
                self._hear(now, now - deadline)
                return True
            event = self._events.popleft()
        else:
            return False
        self._recorder.record(now, event, self.state)
        self._state, effects = machine.step(self.state, event, now)
        self._effects.extend(effects)
        self._changed = self._changed or bool(effects) or type(event) not in _OF_TIME
        return True

    def _carry_out(self) -> None:
        while self._effects:
            answer = self._perform(self._effects.popleft())
            if answer is not None:
                self._answers.append(answer)

    def _hear(self, now: int, late_ns: int) -> None:
        """Somebody is due: let those speak who have something to say, and take our own lateness off."""
        self._heard_at = now
        self._lateness.note(late_ns, now)
        if late_ns > limits.EVENT_LOOP_LAG_NS:
            self._heard.append(Lagged(late_ns))
        self._hearing = True
        try:
            self._before_judging()
        finally:
            self._hearing = False
        self._heard.append(Tick())

    def _arm(self) -> None:
        """Let the one timer wake us at the core's next deadline."""
        deadline = machine.next_deadline(self.state)
        if deadline == self._timer_at and (self._timer is not None or deadline is None):
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = deadline
        if deadline is not None:
            self._timer = self._loop.call_at(deadline / limits.SECOND, self._deadline_reached)

    def _deadline_reached(self) -> None:
        self._timer = None
        self._timer_at = None
        self.feed(Tick())
