"""Loading: files that can not be read, directories and environment of the host, users and groups."""

from __future__ import annotations

import grp
import itertools
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisord_ng import config, limits
from supervisord_ng.config.host import Host
from supervisord_ng.config.loading import load_on
from supervisord_ng.errors import ConfigError
from supervisord_ng.model.spec import NodeSpec, SupervisorSpec, WorkerSpec
from tests.config.host import HOST
from tests.needs import require_ordinary_user

WEB = '[worker.web]\ncommand = "web"\n'
ROOT_HOST = Host(environ=HOST.environ, name="testhost", user=0, group=0)


def write(directory: Path, text: str, name: str = "tree.toml") -> str:
    """Write a file, return its path."""
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def first_worker(text: str, directory: Path, host: Host = HOST) -> WorkerSpec:
    """The first child of the root of this tree."""
    child = load_on(host, write(directory, text)).tree.root.children[0]
    assert isinstance(child, WorkerSpec)
    return child


def messages(path: str, host: Host = HOST) -> list[str]:
    """The problems of a file, without their places."""
    with pytest.raises(ConfigError) as caught:
        load_on(host, path)
    return [problem.message for problem in caught.value.problems]


# --- files ---------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is a problem like any other."""
    path = str(tmp_path / "absent.toml")
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert f"{path}: cannot be read: no such file or directory" == str(caught.value)


def test_directory(tmp_path: Path) -> None:
    """A directory is no file."""
    assert ["cannot be read: is a directory"] == messages(str(tmp_path))


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe without a writer would be waited for for ever; it is refused at once."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    assert ["cannot be read: not a regular file"] == messages(path)


def test_not_utf8(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are named with their line."""
    path = tmp_path / "tree.toml"
    path.write_bytes(WEB.encode() + b"# caf\xe9\n")
    assert ["cannot be read: not UTF-8: byte 0xe9 in line 3"] == messages(str(path))


def test_too_large(tmp_path: Path) -> None:
    """A file above the limit is not read."""
    path = tmp_path / "tree.toml"
    path.write_bytes(b"#" * (limits.CONFIG_BYTES_MAX + 1))
    assert ["cannot be read: larger than 16M"] == messages(str(path))


@pytest.mark.parametrize("text", [f"a = {'9' * 5000}", f"a = {'[' * 1000}"])
def test_absurd_toml(text: str, tmp_path: Path) -> None:
    """What the parser gives up on is a problem, not an exception of the parser."""
    (message,) = messages(write(tmp_path, text))
    assert message.startswith("cannot be read as TOML: ")


def test_path_like_and_source(tmp_path: Path) -> None:
    """`load` takes any path; the tree knows its absolute one."""
    write(tmp_path, WEB)
    loaded = config.load(tmp_path / "tree.toml", environ=HOST.environ)
    assert str(tmp_path / "tree.toml") == loaded.tree.source


def test_includes_in_the_order_of_patterns_and_names(tmp_path: Path) -> None:
    """Files come in the order of the patterns, sorted within one; none twice, the main file never again."""
    for name in ("b", "a", "c"):
        write(tmp_path, f'[worker.{name}]\ncommand = "x"\n', f"{name}.toml")
    path = write(tmp_path, 'include = ["c.toml", "*.toml", "none-*.toml"]\n', "main.toml")
    children = load_on(HOST, path).tree.root.children
    assert ["c", "a", "b"] == [child.name for child in children]


def test_include_beside_a_directory_with_brackets(tmp_path: Path) -> None:
    """The directory of the main file is no pattern."""
    directory = tmp_path / "[x]*"
    directory.mkdir()
    write(directory, WEB, "web.toml")
    path = write(directory, 'include = ["w*.toml"]\n')
    assert ["web"] == [child.name for child in load_on(HOST, path).tree.root.children]


def test_too_many_includes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More included files than the limit are refused before they are read."""
    for number in range(limits.INCLUDE_FILES_MAX + 1):
        write(tmp_path, "", f"{number}.toml")
    path = write(tmp_path, 'include = ["[0-9]*.toml"]\n' + WEB, "main.toml")
    assert ["include: cannot be 1001 files: must be at most 1000"] == messages(path)


# --- bounds of the tree --------------------------------------------------------------------------------------


def nested(depth: int) -> str:
    """A chain of so many supervisors with a worker at its end."""
    names = ["root", *(f"s{number}" for number in range(2, depth + 1)), "web"]
    tables = [
        f'[supervisor.{name}]\nchildren = ["{below}"]\n'
        for name, below in itertools.pairwise(names)
    ]
    return "".join(tables) + WEB


def test_depth(tmp_path: Path) -> None:
    """The deepest tree is accepted, one deeper is refused, once."""
    child: object = load_on(HOST, write(tmp_path, nested(limits.TREE_DEPTH_MAX))).tree.root
    depth = 0
    while isinstance(child, SupervisorSpec):
        depth, child = depth + 1, child.children[0]
    assert limits.TREE_DEPTH_MAX == depth
    too_deep = write(tmp_path, nested(limits.TREE_DEPTH_MAX + 5))
    assert ["supervisor.s65: cannot be 65 supervisors deep: must be at most 64"] == messages(
        too_deep
    )


def test_long_chain_of_supervisors_is_no_recursion(tmp_path: Path) -> None:
    """A chain of thousands is refused by the limit, not by the interpreter's."""
    assert ["supervisor.s65: cannot be 65 supervisors deep: must be at most 64"] == messages(
        write(tmp_path, nested(3_000))
    )


def test_too_many_workers(tmp_path: Path) -> None:
    """Instances that together are too many are counted before they are built."""
    text = "".join(f'[worker.w{n}]\ncommand = "x"\ninstances = 10000\n' for n in range(11))
    assert [
        "cannot have 110000 workers, all instances together: must be at most 100000"
    ] == messages(write(tmp_path, text))


# --- directories ---------------------------------------------------------------------------------------------


def node(environ: Mapping[str, str], directory: Path, user: int = 1000, text: str = "") -> NodeSpec:
    """The node of a tree, as this user with this environment."""
    host = Host(environ=environ, name="testhost", user=user, group=user)
    return load_on(host, write(directory, text + WEB)).tree.node


def directories(spec: NodeSpec) -> tuple[str, str, str]:
    """Where a node keeps its files."""
    return spec.runtime_dir, spec.state_dir, spec.log_dir


def test_directories_from_systemd(tmp_path: Path) -> None:
    """systemd's variables win over everything but the file; the first directory of several counts."""
    environ = {
        "RUNTIME_DIRECTORY": "/run/one:/run/two",
        "STATE_DIRECTORY": "/var/lib/one",
        "LOGS_DIRECTORY": "/var/log/one:/var/log/two",
        "XDG_RUNTIME_DIR": "/run/user/0",
        "XDG_STATE_HOME": "/state",
    }
    for user in (0, 1000):
        expected = ("/run/one", "/var/lib/one", "/var/log/one")
        assert expected == directories(node(environ, tmp_path, user))


def test_directories_of_root(tmp_path: Path) -> None:
    """Without variables root has the system's."""
    expected = ("/run/supervisord-ng", "/var/lib/supervisord-ng", "/var/lib/supervisord-ng/log")
    assert expected == directories(node({"HOME": "/root"}, tmp_path, 0))


def test_directories_of_a_user(tmp_path: Path) -> None:
    """An ordinary user has those of the XDG base directories."""
    environ = {"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/app"}
    state = "/home/app/.local/state/supervisord-ng"
    expected = ("/run/user/7/supervisord-ng", state, f"{state}/log")
    assert expected == directories(node(environ, tmp_path))
    state = "/state/supervisord-ng"
    expected = ("/run/user/7/supervisord-ng", state, f"{state}/log")
    assert expected == directories(node(environ | {"XDG_STATE_HOME": "/state"}, tmp_path))


def test_directories_of_the_file_are_relative_to_it(tmp_path: Path) -> None:
    """What the file says wins, relative to the file."""
    text = '[node]\nruntime_dir = "r"\nstate_dir = "../s"\nlog_dir = "/l"\n'
    spec = node({}, tmp_path, text=text)
    assert (f"{tmp_path}/r", f"{tmp_path.parent}/s", "/l") == directories(spec)
    assert f"{tmp_path.parent}/s/node.key" == spec.secret_key_file


def test_directories_of_a_command_line_win(tmp_path: Path) -> None:
    """Options of the daemon win over the file, and the log goes with the state."""
    path = write(tmp_path, '[node]\nruntime_dir = "r"\nstate_dir = "s"\n' + WEB)
    spec = config.load(path, environ={}, runtime_dir="/run/x", state_dir="/state").tree.node
    assert ("/run/x", "/state", "/state/log") == directories(spec)


def test_user_without_directories(tmp_path: Path) -> None:
    """A user whose environment says nothing must say it in the file; nothing is guessed."""
    host = Host(environ={}, name="testhost", user=1000, group=1000)
    assert [
        "node.runtime_dir: cannot be left out: neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set",
        "node.state_dir: cannot be left out: none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set",
    ] == messages(write(tmp_path, WEB), host)


def test_name_of_the_host(tmp_path: Path) -> None:
    """The node has the host's name, unless that is none for a node."""
    assert "testhost" == node(HOST.environ, tmp_path).name
    (message,) = messages(write(tmp_path, WEB), Host(HOST.environ, "my host", 1000, 1000))
    assert message.startswith('node.name: cannot be the host\'s name, "my host": must be letters')


def test_real_host(tmp_path: Path) -> None:
    """Without being told, `load` asks the process: its environment, its user, its host."""
    environ = {"RUNTIME_DIRECTORY": "/run/x", "STATE_DIRECTORY": "/state", "LANG": "C"}
    tree = config.load(write(tmp_path, WEB + "[node]\nname = 'n'\n"), environ=environ).tree
    worker = tree.root.children[0]
    assert isinstance(worker, WorkerSpec)
    assert ({"LANG": "C"}, "/run/x") == (worker.launch.environment, tree.node.runtime_dir)


# --- environment ---------------------------------------------------------------------------------------------


def test_environment_inherits_little(tmp_path: Path) -> None:
    """By default only the variables that every program needs are inherited."""
    environment = first_worker(WEB, tmp_path).launch.environment
    assert {"PATH", "HOME", "LANG", "LC_TIME"} == set(environment)


def test_environment_inherits_all_but_the_daemon_s_own(tmp_path: Path) -> None:
    """With true everything is inherited, but not what lies between the daemon and its service manager."""
    environment = first_worker(WEB + "inherit_environment = true\n", tmp_path).launch.environment
    assert set(HOST.environ) - {"NOTIFY_SOCKET", "SNG_TOKEN"} == set(environment)


def test_environment_wins_over_file_wins_over_inherited(tmp_path: Path) -> None:
    """The table wins over the file, the file over what is inherited."""
    write(tmp_path, "PATH=file\nLANG=file\nX='a b'\n", "web.env")
    text = WEB + 'environment_file = "web.env"\nenvironment = { LANG = "table", Y = "" }\n'
    actual = first_worker(text, tmp_path).launch.environment
    inherited = {"HOME": "/home/app", "LC_TIME": "de_DE.UTF-8"}
    assert inherited | {"PATH": "file", "LANG": "table", "X": "a b", "Y": ""} == actual


def test_environment_too_large(tmp_path: Path) -> None:
    """More than the limit could not be handed to a program."""
    text = WEB + f'environment = {{ A = "{"x" * limits.ENVIRONMENT_BYTES_MAX}" }}\n'
    expected = "worker.web.environment: cannot be larger than 1M, all variables together"
    assert [expected] == messages(write(tmp_path, text))


def test_inherited_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A variable that no report could show is refused by its name, not by a codec later on."""
    host = Host({**HOST.environ, "LC_ALL": "caf\udce9"}, "testhost", 1000, 1000)
    expected = 'worker.web: cannot inherit "LC_ALL": its value is not UTF-8 (set it in environment)'
    assert [expected] == messages(write(tmp_path, WEB), host)


# --- users and groups ----------------------------------------------------------------------------------------


def test_root_may_use_any_user(tmp_path: Path) -> None:
    """A user brings its primary group, the groups it is a member of, and its own variables."""
    account = pwd.getpwall()[-1]
    text = WEB + f'user = "{account.pw_name}"\n'
    launch = first_worker(text, tmp_path, ROOT_HOST).launch
    groups = tuple(os.getgrouplist(account.pw_name, account.pw_gid))
    assert (account.pw_uid, account.pw_gid, groups) == (launch.user, launch.group, launch.groups)
    variables = {name: launch.environment[name] for name in ("HOME", "USER", "LOGNAME")}
    name = account.pw_name
    assert {"HOME": account.pw_dir, "USER": name, "LOGNAME": name} == variables


def test_explicit_variables_win_over_the_user_s(tmp_path: Path) -> None:
    """HOME of the table is HOME."""
    text = WEB + 'user = "root"\nenvironment = { HOME = "/srv" }\n'
    environment = first_worker(text, tmp_path, ROOT_HOST).launch.environment
    assert ("/srv", "root") == (environment["HOME"], environment["USER"])


def test_user_by_number(tmp_path: Path) -> None:
    """A number that no user has needs a group, and has no groups but that."""
    text = WEB + "user = 4294967000\ngroup = 4294967001\n"
    launch = first_worker(text, tmp_path, ROOT_HOST).launch
    assert (4294967000, 4294967001, None) == (launch.user, launch.group, launch.groups)


def test_user_by_number_without_group(tmp_path: Path) -> None:
    """Without one it is a problem: there is nobody to ask for the group."""
    text = "cannot be 4294967000 without group: this host knows no user with this number"
    path = write(tmp_path, WEB + "user = 4294967000\n")
    assert [f"worker.web.user: {text} (set group as well)"] == messages(path, ROOT_HOST)


def test_group_and_groups_of_the_file(tmp_path: Path) -> None:
    """Groups are looked up by name; what is said wins over what the user has."""
    group = grp.getgrall()[-1]
    text = WEB + f'user = "root"\ngroup = "{group.gr_name}"\ngroups = ["root", 12345]\n'
    launch = first_worker(text, tmp_path, ROOT_HOST).launch
    root = grp.getgrnam("root").gr_gid
    assert (0, group.gr_gid, (root, 12345)) == (launch.user, launch.group, launch.groups)


def test_own_user_without_being_root(tmp_path: Path) -> None:
    """The daemon's own user may be named by anybody; groups that nobody names stay what they are."""
    account = next(one for one in pwd.getpwall() if one.pw_uid != 0)
    host = Host(HOST.environ, "testhost", account.pw_uid, account.pw_gid)
    launch = first_worker(WEB + f'user = "{account.pw_name}"\n', tmp_path, host).launch
    assert (account.pw_uid, None, None) == (launch.user, launch.group, launch.groups)
    assert account.pw_name == launch.environment["USER"]


def test_own_group_without_being_root(tmp_path: Path) -> None:
    """So may the daemon's own group."""
    launch = first_worker(WEB + "user = 1000\ngroup = 1000\n", tmp_path).launch
    assert (1000, 1000, None) == (launch.user, launch.group, launch.groups)


def test_file_that_may_not_be_read(tmp_path: Path) -> None:
    """A file that may not be read is a problem that says so."""
    require_ordinary_user()
    path = write(tmp_path, WEB)
    os.chmod(path, 0)
    assert ["cannot be read: permission denied"] == messages(path)


def test_control_group(tmp_path: Path) -> None:
    """The group of operators by name is its number."""
    group = grp.getgrall()[-1]
    text = f'[node]\ncontrol_group = "{group.gr_name}"\n'
    assert group.gr_gid == node(HOST.environ, tmp_path, text=text).control_group
