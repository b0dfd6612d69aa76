"""From what a section says to the specifications of `model.spec`: paths made absolute, names looked up."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import msgspec

from supervisord_ng.config import raw
from supervisord_ng.config.arrange import Children, Sections
from supervisord_ng.config.environment import EnvironmentFiles, environment_of
from supervisord_ng.config.explain import show
from supervisord_ng.config.host import Host, Identity, identity_of
from supervisord_ng.config.places import Notes, Place
from supervisord_ng.config.special import STREAMS
from supervisord_ng.config.tables import Section
from supervisord_ng.model import spec
from supervisord_ng.model.names import ROOT, instance_name, join

Worker = Section[raw.Worker]
Key = tuple[str, ...]  # of a worker: ("stdout",), ("log", "file")


def absolute(path: str, place: Place) -> str:
    """A path of the configuration: relative ones are so to the file in which they stand."""
    return os.path.normpath(os.path.join(os.path.dirname(place.source.path), path))


class WorkerBuilder:
    """Builds the specifications of all workers; holds what is the same for all of them."""

    def __init__(self, log_dir: str, host: Host, files: EnvironmentFiles, notes: Notes) -> None:
        self.log_dir = log_dir
        self.host = host
        self.files = files
        self.notes = notes
        self.templates: dict[str, spec.WorkerSpec] = {}  # of workers with `instances`

    def build(self, worker: Worker) -> tuple[spec.WorkerSpec, ...]:
        """One specification, or one for each instance, in order."""
        said = worker.said
        identity = identity_of(worker, self.host, self.notes)
        environment = environment_of(
            worker, self.host.environ, identity.variables, self.files, self.notes
        )
        launch = self._launch(worker, said, identity, environment)
        if said.instances is None:
            return (self._worker(said, launch, worker.name, None),)
        self.templates[worker.name] = self._worker(said, launch, worker.name, None)
        return tuple(
            self._worker(said, launch, instance_name(worker.name, number), number)
            for number in range(1, said.instances + 1)
        )

    def _launch(
        self, worker: Worker, said: raw.Worker, identity: Identity, environment: dict[str, str]
    ) -> spec.LaunchSpec:
        return spec.LaunchSpec(
            command=said.command,
            directory=said.directory and absolute(said.directory, worker.place("directory")),
            user=identity.user,
            group=identity.group,
            groups=identity.groups,
            umask=said.umask,
            environment=environment,
            limits={name: value for name, value in _limits(said.limits) if value is not None},
            nice=said.nice,
            oom_score_adj=said.oom_score_adj,
            resources=_resources(said.resources),
            no_new_privileges=said.no_new_privileges,
            stdout=_stream(worker, "stdout", said.stdout),
            stderr=_stream(worker, "stderr", said.stderr),
        )

    def _worker(
        self,
        said: raw.Worker,
        launch: spec.LaunchSpec,
        name: str,
        instance: int | None,
    ) -> spec.WorkerSpec:
        log = said.log
        return spec.WorkerSpec(
            name=name,
            launch=launch,
            log=spec.LogSpec(
                file=os.path.normpath(os.path.join(self.log_dir, log.file or f"{name}.log")),
                max_bytes=log.max_bytes,
                backups=log.backups,
                format=log.format,
                timestamps=log.timestamps,
            ),
            instance=instance,
            autostart=said.autostart,
            restart=said.restart,
            significant=said.significant,
            shutdown=said.shutdown,
            stop_signal=said.stop_signal,
            stop_signal_to=said.stop_signal_to,
            # Exit 0 is always normal; the key adds to it.
            success_exit_codes=tuple(dict.fromkeys((0, *said.success_exit_codes))),
            clean_signals=said.clean_signals,
            ready=said.ready,
            ready_timeout_ns=said.ready_timeout,
            heartbeat=None if said.heartbeat is None else heartbeat_spec(said.heartbeat),
            liveness=None if said.liveness is None else _liveness(said.liveness),
            backoff=None if said.backoff is None else backoff_spec(said.backoff),
        )


def _stream(worker: Worker, key: str, value: str) -> str:
    return value if value in STREAMS else absolute(value, worker.place(key))


def _limits(limits: raw.Limits) -> Iterator[tuple[str, int | None]]:
    for key in raw.keys_of(raw.Limits).values():
        yield key.name, getattr(limits, key.attribute)


def _resources(resources: raw.Resources | None) -> spec.Resources | None:
    """None as well for a table that limits nothing: it needs no cgroup."""
    if resources is None:
        return None
    said = spec.Resources(**msgspec.structs.asdict(resources))  # the keys are the fields
    return None if said == spec.Resources(optional=said.optional) else said


def heartbeat_spec(heartbeat: raw.Heartbeat | raw.LinkHeartbeat) -> spec.Heartbeat:
    """The heartbeat of a worker or a link."""
    if isinstance(heartbeat, raw.LinkHeartbeat):
        return spec.Heartbeat(heartbeat.interval, heartbeat.timeout)
    return spec.Heartbeat(
        heartbeat.interval, heartbeat.timeout, heartbeat.detector, heartbeat.threshold
    )


def backoff_spec(backoff: raw.Backoff) -> spec.Backoff:
    """The backoff of a worker."""
    return spec.Backoff(
        backoff.initial, backoff.max, backoff.factor, backoff.jitter, backoff.reset_after
    )


def _liveness(liveness: raw.Liveness) -> spec.Liveness:
    if liveness.tcp is not None:
        probe = spec.Ready("tcp", liveness.tcp)
    elif liveness.http is not None:
        probe = spec.Ready("http", liveness.http)
    else:
        probe = spec.Ready("command", liveness.exec)
    return spec.Liveness(probe, liveness.interval, liveness.timeout, liveness.failures)


def check_files(
    workers: Mapping[str, tuple[spec.WorkerSpec, ...]], sections: Sections, notes: Notes
) -> None:
    """Find workers that would write one file: each rotates its own, so lines would be lost.

    The stdout and stderr of one worker may share a file, and so may any number of workers a device.
    """
    owners: dict[str, str] = {}
    for name, specs in workers.items():
        shared: dict[Key, tuple[spec.WorkerSpec, str]] = {}
        for one in specs:
            for path, key in _files(one).items():
                owner = owners.setdefault(path, one.name)
                if owner != one.name:
                    shared.setdefault(key, (one, owner))
        # The first instance that shares a file says it for all of them.
        for key, (one, owner) in shared.items():
            _shared(sections.workers[name], one, owner, key, notes)


def _files(worker: spec.WorkerSpec) -> dict[str, Key]:
    """The files that a worker writes, each with the key that says so."""
    files: dict[str, Key] = {}
    launch = worker.launch
    for key, value in (("stdout", launch.stdout), ("stderr", launch.stderr)):
        if value == "log":
            files[worker.log.file] = ("log", "file")
        elif value not in STREAMS and not value.startswith("/dev/"):
            files[value] = (key,)
    return files


def _shared(worker: Worker, one: spec.WorkerSpec, owner: str, key: Key, notes: Notes) -> None:
    log = worker.said.log.file or f"{one.name}.log"
    value = log if key == ("log", "file") else getattr(worker.said, key[0])
    text = f"cannot be {show(value)}: worker {show(owner)} writes that file"
    hint = " (leave it out: each instance then has a file of its own)" if one.instance else ""
    worker.problem(notes, f"{text}{hint}", *key)


def build_tree(
    children: Children,
    workers: Mapping[str, tuple[spec.WorkerSpec, ...]],
    sections: Sections,
) -> spec.SupervisorSpec:
    """The tree below the root. Only for sections in which no problem was found."""

    def build(name: str) -> spec.SupervisorSpec:
        return _supervisor(sections.supervisors[name], tuple(members(name)))

    def members(name: str) -> Iterator[spec.ChildSpec]:
        for child in children[name]:
            if child in workers:
                yield from workers[child]
            elif child in sections.remotes:
                yield _remote(sections.remotes[child])
            else:
                yield build(child)

    return build(ROOT)


def scalable_of(
    children: Children, templates: Mapping[str, spec.WorkerSpec], sections: Sections
) -> dict[str, spec.Scalable]:
    """What `scale` has to know of every worker with `instances`."""
    parents = {child: name for name, listed in children.items() for child in listed}

    def path(name: str) -> str:
        return ROOT if name == ROOT else join(path(parents[name]), name)

    return {
        name: spec.Scalable(
            supervisor=path(parents[name]),
            siblings=tuple(children[parents[name]]),
            template=template,
            count=sections.workers[name].said.instances or 0,
            shares=_shared_key(template, sections.workers[name].said),
        )
        for name, template in templates.items()
    }


def _shared_key(template: spec.WorkerSpec, said: raw.Worker) -> str | None:
    """The key by which all instances would write one file, None if each has its own."""
    for file, key in _files(template).items():
        if file != template.log.file or said.log.file is not None:
            return ".".join(key)
    return None


def _supervisor(
    section: Section[raw.Supervisor], children: tuple[spec.ChildSpec, ...]
) -> spec.SupervisorSpec:
    said = section.said
    return spec.SupervisorSpec(
        name=section.name,
        children=children,
        strategy=said.strategy,
        intensity=said.intensity,
        period_ns=said.period,
        auto_shutdown=said.auto_shutdown,
        restart=said.restart,
        significant=said.significant,
        shutdown=said.shutdown,
        start_failure=said.start_failure,
        stop_order=said.stop_order,
    )


def _remote(section: Section[raw.Remote]) -> spec.RemoteSpec:
    said = section.said
    return spec.RemoteSpec(
        name=section.name,
        public_key=said.public_key,
        restart=said.restart,
        significant=said.significant,
        heartbeat=heartbeat_spec(said.heartbeat),
        on_lost=said.on_lost,
    )
