"""Known mistakes: each a few words of the core replaced by wrong ones.

`plant` puts one of them into a process that then looks whether anybody notices; `test_planted_mistakes` does so
with all of them. What is replaced must stand in its module exactly once, so a mistake that no longer fits
the core is an error, not a mistake that is found by luck.
"""

from __future__ import annotations

from tests.core.mistake import Change, Mistake
from tests.core.mistake import one as _one
from tests.core.mistakes_linking import LINKS
from tests.core.mistakes_resuming import KILLED_DAEMONS

WINDOW = {
    "the window leaves out a restart exactly as old as the period": _one(
        "intensity", "restarts, period_ns - now, key=neg", "restarts, period_ns - now - 1, key=neg"
    ),
    "the limit is strict": _one(
        "intensity", "len(restarts) <= intensity", "len(restarts) < intensity"
    ),
    "the window never forgets": _one(
        "intensity",
        "keep = min(in_window(restarts, now, period_ns), kept_max)",
        "keep = min(len(restarts), kept_max)",
    ),
    "every restart by hand counts": _one(
        "commands",
        "        turn.update(path, plan=Plan(Purpose.CALL, start=(call.name,), call=call))\n\n\ndef _renew",
        "        turn.update(path, restarts=(turn.now, *turn.supervisor(path).restarts),\n"
        "            plan=Plan(Purpose.CALL, start=(call.name,), call=call))\n\n\ndef _renew",
    ),
    "a retry does not count": _one(
        "restarts",
        "elif _count_restart(turn, path):\n        _note_restart",
        "elif True:\n        _note_restart",
    ),
    "one_for_all counts each sibling": _one(
        "restarts",
        "others = tuple(name for name in scope if name != child.name)\n    turn.update(",
        "others = tuple(name for name in scope if name != child.name)\n"
        "    for _ in others:\n        _count_restart(turn, path)\n    turn.update(",
    ),
    "the end of a temporary child counts": _one(
        "restarts",
        "decision = Decision.REMOVED if temporary else Decision.NONE\n",
        "decision = Decision.REMOVED if temporary else Decision.NONE\n"
        "    _count_restart(turn, path)\n",
    ),
    "a restarted supervisor remembers the restarts of its last life": Mistake(
        (
            Change(
                "boot",
                "restarts=(),\n        plan=",
                "restarts=supervisor.restarts,\n        plan=",
            ),
            Change("termination", "suspended=False, restarts=()", "suspended=False"),
        )
    ),
}

ENDS = {
    "a transient child is restarted after any end": _one(
        "restarts",
        "(restart is Restart.TRANSIENT and reason.is_abnormal)",
        "restart is Restart.TRANSIENT",
    ),
    "a temporary child is restarted": _one(
        "restarts", "return restart is Restart.PERMANENT or", "return restart is not None or"
    ),
    "a permanent child that ended well stays down": _one(
        "restarts",
        "return restart is Restart.PERMANENT or",
        "return (restart is Restart.PERMANENT and reason.is_abnormal) or",
    ),
    "death by the stop signal is a crash": _one(
        "ends", "if child.asked and how.signal == stop_signal:", "if False:", first="model"
    ),
    "exit 0 of a stopped worker is not what was wanted": _one(
        "ends",
        "ExitClass.SHUTDOWN if child.asked else ExitClass.NORMAL",
        "ExitClass.NORMAL",
        first="model",
    ),
    "a worker that had to be killed is not reported": _one(
        "ends", "        return brutal\n", "        return True\n"
    ),
    "a signal of a stranger is a clean end": _one(
        "ends",
        "if how.signal in child.spec.clean_signals:",
        "if how.signal != SIGKILL:",
        first="model",
    ),
    "a queued exit is forgotten when others wait": _one(
        "supervisor",
        "else:\n            turn.update(outcome.path, mailbox=(*supervisor.mailbox, message))",
        "elif not supervisor.mailbox:\n            turn.update(outcome.path, mailbox=(message,))",
    ),
    "the mailbox is a stack": _one(
        "supervisor",
        "mailbox=supervisor.mailbox[1:])\n            _handle(turn, path, supervisor.mailbox[0])",
        "mailbox=supervisor.mailbox[:-1])\n            _handle(turn, path, supervisor.mailbox[-1])",
    ),
    "a deaf supervisor hears": _one(
        "supervisor",
        "if not supervisor.alive or supervisor.suspended:",
        "if not supervisor.alive:",
    ),
}

STRATEGIES = {
    "rest_for_one takes the elder siblings along": _one(
        "strategy", "return order[order.index(child) :]", "return order"
    ),
    "rest_for_one restarts one": _one(
        "strategy", "return order[order.index(child) :]", "return (child,)"
    ),
    "the siblings are not stopped": _one("restarts", "stop=tuple(reversed(others)),", "stop=(),"),
    "the siblings are stopped in start order": _one(
        "restarts", "stop=tuple(reversed(others)),", "stop=others,"
    ),
    "the siblings are started in the order of stopping": _one(
        "restarts",
        "start=scope,\n            child=child.name",
        "start=scope[::-1],\n            child=child.name",
    ),
    "the next child is stopped before the last is gone": _one(
        "plans",
        "_order_end(turn, child, plan)\n        return False",
        "_order_end(turn, child, plan)\n        child = None",
    ),
    "a temporary bystander is revived": _one(
        "plans",
        "((simple or child.spec.restart is Restart.TEMPORARY) and not comes_back):",
        "(simple and not comes_back):",
    ),
    "a sibling that was down stays down": _one(
        "restarts",
        "start=scope,\n            child=child.name",
        "start=tuple(n for n in scope if n == child.name"
        " or supervisor.children[n].standing is Standing.UP),\n            child=child.name",
    ),
}

RETRIES = {
    "the wrong child is tried again": _one(
        "restarts",
        "_try_again(turn, path, child, plan, reason)",
        "_try_again(turn, path, supervisor.children.get(plan.child, child), plan, reason)",
    ),
    "a retry overtakes what has arrived": _one(
        "restarts",
        "mailbox = (*supervisor.mailbox, Retry(child.name, child.incarnation))",
        "mailbox = (Retry(child.name, child.incarnation), *supervisor.mailbox)",
    ),
    "an operator's stop does not call a pending restart off": _one(
        "plans",
        "standing=Standing.DOWN,\n            offender=None,\n            deadline=None,",
        "standing=Standing.RESTARTING if child.standing is Standing.RESTARTING"
        " else Standing.DOWN,\n            offender=None,\n            deadline=child.deadline,",
    ),
    "the back-off is not waited for": _one(
        "restarts",
        "delay = delay_ns(backoff, child.tries, turn.chance()) if backoff is not None else 0\n"
        "    _note_restart",
        "delay = 0\n    _note_restart",
        first="model",
    ),
    "the back-off is never reset": _one(
        "restarts", "ran_ns >= backoff.reset_after_ns", "ran_ns < 0", first="model"
    ),
    "the back-off does not grow": _one(
        "backoff", "backoff.factor ** min(tries, _EXPONENT_MAX)", "1", first="model"
    ),
    "the back-off has no cap": _one("backoff", ", backoff.max_ns)", ", 1 << 62)", first="model"),
    "a failed boot is tried again": _one(
        "restarts",
        "plan.purpose is Purpose.BOOT and supervisor.spec.start_failure is StartFailure.GIVE_UP:",
        "False:",
    ),
}

SUPERVISORS = {
    "giving up ends with the wrong reason": _one(
        "restarts",
        "idle=Idle.EXITED)\n    )\n    termination.begin_exit(turn, path, SHUTDOWN)",
        "idle=Idle.EXITED)\n    )\n    termination.begin_exit(turn, path, reason)",
    ),
    "giving up leaves the children alone": _one(
        "termination",
        "stop=order, parallel=parallel, reason=reason",
        "stop=(), parallel=parallel, reason=reason",
    ),
    "an end stops in start order": _one(
        "termination",
        "order = tuple(reversed(supervisor.children))\n"
        "    turn.update(path, plan=Plan(Purpose.EXIT, stop=order, parallel",
        "order = tuple(supervisor.children)\n"
        "    turn.update(path, plan=Plan(Purpose.EXIT, stop=order, parallel",
    ),
    "everything is stopped at once": _one(
        "termination",
        "parallel = spec.strategy is Strategy.SIMPLE_ONE_FOR_ONE or"
        " spec.stop_order is StopOrder.PARALLEL",
        "parallel = True",
    ),
    "stop_order is ignored": _one(
        "termination", " or spec.stop_order is StopOrder.PARALLEL", "", first="model"
    ),
    "a boot starts the last child first": _one(
        "boot",
        "plan=Plan(Purpose.BOOT, start=tuple(children)),",
        "plan=Plan(Purpose.BOOT, start=tuple(reversed(children))),",
    ),
    "the next child is started before the last is ready": _one(
        "plans",
        "life.start(turn, child, automatic=_is_automatic(supervisor, child, plan))\n"
        "    return False",
        "life.start(turn, child, automatic=_is_automatic(supervisor, child, plan))\n"
        "        turn.update(path, plan=replace(plan, start_at=plan.start_at + 1))\n"
        "        return True\n"
        "    return False",
    ),
    "dynamic children survive a restart of their supervisor": Mistake(
        (
            Change("boot", "if child.name not in kept or", "if"),
            Change(
                "boot",
                "turn.set_children(order.path, children)",
                "children = turn.supervisor(order.path).children | children\n"
                "    turn.set_children(order.path, children)",
            ),
        )
    ),
    "a deleted child stays deleted when its supervisor restarts": _one(
        "boot",
        "turn.set_children(order.path, children)",
        "children = {n: c for n, c in children.items() if n in before or not before}\n"
        "    turn.set_children(order.path, children)",
    ),
    "calls are not answered when their supervisor ends": _one(
        "termination",
        "if isinstance(message, Call):\n            turn.emit(Reply(message.request,",
        "if False:\n            turn.emit(Reply(message.request,",
    ),
    "auto_shutdown minds insignificant children": _one(
        "restarts",
        "if not child.spec.significant or supervisor.spec.auto_shutdown",
        "if supervisor.spec.auto_shutdown",
    ),
    "auto_shutdown minds what an operator stops": _one(
        "supervisor",
        "    plans.reply(turn, plan)\n    if plan.purpose",
        "    plans.reply(turn, plan)\n"
        "    if plan.call is not None and plan.stop and plan.call.name in supervisor.children:\n"
        "        restarts._auto_shutdown(turn, path, supervisor.children[plan.call.name])\n"
        "    if plan.purpose",
    ),
    "all_significant does not wait for the others": _one(
        "restarts",
        "AutoShutdown.ANY_SIGNIFICANT or not others_left:",
        "AutoShutdown.ANY_SIGNIFICANT or True:",
    ),
    "what cannot be started by hand stays in the list": _one(
        "restarts",
        'if plan.call.op == "start_child" or (',
        'if plan.call.op != "start_child" and (',
    ),
    "a running child can be deleted": _one(
        "commands",
        'elif _is_running(child):\n        _answer(turn, call, "running", child=child)\n    elif',
        "elif",
    ),
    "a temporary child does not survive its renewal": _one(
        "plans",
        "or renewed or plan.purpose is",
        "or plan.purpose is",
    ),
    "a renewal does not wait for who is to be renewed": _one(
        "commands", "stop=name, start=name, call=call", "start=name, call=call"
    ),
    "instances report their bad ends one by one": _one("plans", "    if grouped:", "    if False:"),
}

LIVES = {
    "an incarnation is not looked at": _one(
        "machine",
        "if child is not None and child.incarnation == event.incarnation:",
        "if child is not None:",
        first="model",
    ),
    "an incarnation is used twice": _one(
        "child",
        "incarnation = child.last_number + 1",
        "incarnation = max(1, child.incarnation)",
    ),
    "a child that is added again starts from incarnation 1": _one(
        "boot",
        "new_child(child_path, spec, incarnation=retired,",
        "new_child(child_path, spec, incarnation=0,",
        first="model",
    ),
    "a worker is gone when its main process is": _one(
        "child",
        "    if empty:\n        _down(turn, child, reason)",
        "    if True:\n        _down(turn, child, reason)",
        first="simulator",
    ),
    "what a stopped worker leaves behind is forgotten": _one(
        "child",
        "_main_ended(turn, child, reason, empty=what.empty)\n        return\n    assert",
        "pass\n    _down(turn, child, reason)\n    return\n    assert",
        first="simulator",
    ),
    "the shutdown time never ends": _one(
        "child",
        "deadline = None if grace is None else turn.now + grace",
        "deadline = None",
    ),
    "brutal_kill asks first": Mistake(
        (
            Change("child", "elif shutdown in (BRUTAL_KILL, 0):", "elif shutdown == 0:"),
            Change(
                "child",
                "grace = None if shutdown == INFINITY else int(shutdown)",
                "grace = None if shutdown in (INFINITY, BRUTAL_KILL) else int(shutdown)",
            ),
        )
    ),
    "heartbeats are judged while it stops": _one(
        "child", "DeadlineReached: _stop_too_slow,", "DeadlineReached: _hangs,"
    ),
    "the daemon's own lag is blamed on workers": _one(
        "liveness", "not in (Phase.STARTING, Phase.RUNNING) or", "is not None or", first="simulator"
    ),
    "a worker that never becomes ready is waited for": _one(
        "child",
        "deadline = turn.now + spec.ready_timeout_ns\n",
        "deadline = None\n",
        first="simulator",
    ),
    "stacks that do not come are waited for": _one(
        "child",
        "phase=Phase.DUMPING, deadline=turn.now + DUMP_WAIT_NS",
        "phase=Phase.DUMPING, deadline=None",
        first="model",
    ),
    "a hang is not noticed": _one(
        "liveness", "return spec.heartbeat.timeout_ns\n", "return None\n", first="model"
    ),
    "a hang is a crash like any other": _one(
        "child", "cause=HEARTBEAT_TIMEOUT, beat_age", "beat_age", first="model"
    ),
}

MISTAKES: dict[str, Mistake] = (
    WINDOW | ENDS | STRATEGIES | RETRIES | SUPERVISORS | LIVES | KILLED_DAEMONS | LINKS
)
