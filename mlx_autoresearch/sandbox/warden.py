"""`python -I -S warden.py ORDER PROGRAM ARGUMENTS...` gives up rights that can't be had back, then becomes PROGRAM.

It stands alone, because every run pays for what it loads. ORDER is JSON:

    limits     {"memory_bytes": ..., "processes": ..., "file_bytes": ..., "open_files": ...}; null is no limit
    filter     whether to refuse system calls by seccomp (Linux)
    cuda       whether the filter leaves the one kind of socket that CUDA's driver listens at
    landlock   null, or {"readable": [...], "writable": [...], "listed": [...]}: namespaces and Landlock, where
               bubblewrap is not there
    parent     number of the process that asks for it, with whose death everything ends (with Landlock)

What is asked for and can't be done ends it with status 125 and a sentence: it never runs PROGRAM with more rights.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
from contextlib import suppress

CANNOT_CONFINE = 125
"""Exit status when the rights could not be given up."""

SET_DEATH_SIGNAL, SET_SECCOMP, DROP_CAPABILITY, NO_NEW_PRIVILEGES = 1, 22, 24, 38
"""prctl(2)."""

NEW_USER, NEW_PROCESSES, NEW_NETWORK, NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
"""unshare(2)."""

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Landlock's system calls, with the same numbers on every architecture."""

EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER, REMOVE_FOLDER, REMOVE_FILE = 1, 2, 4, 8, 16, 32
MAKE_FOLDER, MAKE_FILE, MOVE, TRUNCATE = 128, 256, 8192, 16384
READING = EXECUTE | READ_FILE | READ_FOLDER
WRITING = READING | WRITE_FILE | REMOVE_FOLDER | REMOVE_FILE | MAKE_FOLDER | MAKE_FILE | MOVE | TRUNCATE
"""Landlock's rights. Sockets, pipes, devices and symbolic links may not be made anywhere."""

ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
"""Those of them that a rule about a file, not a folder, may hold."""

RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many of the rights a version knows; 16 from the fifth on."""

OLDEST_LANDLOCK = 3
"""Before it, files could be cut off anywhere."""

LITTLE_OF_PROC = ("self", "cpuinfo", "meminfo", "stat", "sys/kernel/osrelease", "version")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

REFUSED_CALLS = {
    # name: numbers on x86_64 and aarch64. `socketpair` stays, for processes of the job among themselves.
    "socket": (41, 198),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
}

SOCKET_CALL, CONNECT_CALL = REFUSED_CALLS["socket"], (42, 203)

UNIX_FAMILY, SEQUENCED_PACKETS, SOCKET_KIND = 1, 5, 15
"""CUDA's driver binds such a socket at the abstract name cuda-uvmfd-... and listens, else cuInit gives error 304 (seen
on an H200 with driver 580). Nobody has to connect. Of the second argument of socket(2) the low bits are the kind."""

CALLS_BY_NAME_OF_FILE = {
    # Landlock doesn't guard a file's mode, owner, times and attributes. None: that architecture has no such call.
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}


class CannotConfineError(Exception):
    """A right could not be given up."""


def set_limits(limits: dict) -> None:
    """Soft and hard limits of this process and its children; lower ones that are there already stay."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_DATA: limits["memory_bytes"],
    }
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        if value is None or (hard != resource.RLIM_INFINITY and hard < value):
            continue
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            if sys.platform == "linux":  # macOS refuses RLIMIT_DATA; the parent's watch bounds memory there
                raise
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("800")  # where memory runs out after all, the kernel takes the job before the harness


def library() -> ctypes.CDLL:
    """The C library, with errors kept."""
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int, pointer: int = 0) -> None:
    """prctl(2).

    Raises:
        CannotConfineError: it failed.
    """
    words = [ctypes.c_ulong(number) for number in (value, pointer, 0, 0)]
    if library().prctl(ctypes.c_int(option), *words) != 0:
        raise CannotConfineError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")


def drop_capabilities() -> None:
    """No program that is started from now on has any capability, whoever it runs as."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        with suppress(CannotConfineError):  # without CAP_SETPCAP there are none to lose
            prctl(DROP_CAPABILITY, capability)


def filter_program(machine: str, refused: dict[str, tuple], cuda: bool) -> bytes:
    """The seccomp filter for an architecture, as classic BPF: what is refused fails with EPERM, the rest goes on.

    Calls of another architecture (32-bit code on a 64-bit kernel, x32) have other numbers: all refused. For `cuda` the
    socket that its driver needs can be made, and no socket at all be connected.

    Raises:
        CannotConfineError: the architecture's numbers aren't known here.
    """
    if machine not in AUDIT_ARCHITECTURE:
        raise CannotConfineError(f"no system call filter is known for {machine}")
    index = list(AUDIT_ARCHITECTURE).index(machine)
    numbers = [pair[index] for pair in (refused | {"connect": CONNECT_CALL} if cuda else refused).values()]
    numbers = [number for number in numbers if number is not None]
    load, mask, equal, at_least, answer = 0x20, 0x54, 0x15, 0x35, 0x06
    allow, refuse = (answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050000 | errno.EPERM)
    lines = [(load, 0, 0, 4), (equal, 1, 0, AUDIT_ARCHITECTURE[machine]), refuse]
    lines += [(load, 0, 0, 0), (at_least, 0, 1, 0x40000000), refuse]
    if cuda:
        lines += [(equal, 0, 7, SOCKET_CALL[index]), (load, 0, 0, 16), (equal, 0, 4, UNIX_FAMILY)]
        lines += [(load, 0, 0, 24), (mask, 0, 0, SOCKET_KIND), (equal, 0, 1, SEQUENCED_PACKETS), allow, refuse]
    lines += [(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, allow, refuse])


def refuse_calls(refused: dict[str, tuple], cuda: bool) -> None:
    """Install the filter; programs started later keep it.

    Raises:
        CannotConfineError: it can't be installed.
    """
    program = filter_program(platform.machine(), refused, cuda)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions)))
    prctl(NO_NEW_PRIVILEGES, 1)
    prctl(SET_SECCOMP, 2, ctypes.addressof(header))


def landlock_version() -> int:
    """Version of the kernel's Landlock; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, library().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def restrict_files(readable: list[str], writable: list[str], listed: list[str]) -> None:
    """Landlock: from now on only these files can be opened, only those below `writable` changed; and no TCP.

    Of the folders in `listed`, and those below them, the names can be read.

    Raises:
        CannotConfineError: the kernel's Landlock is missing, too old, or refuses.
    """
    version = landlock_version()
    if version < OLDEST_LANDLOCK:
        raise CannotConfineError(f"the kernel's Landlock has version {version}; {OLDEST_LANDLOCK} is needed")
    rights = (1 << RIGHTS_OF_VERSION.get(version, 16)) - 1
    attributes = struct.pack("QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _checked(library().syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    proc = [f"/proc/{name}" for name in LITTLE_OF_PROC]
    granted_to = ((readable, READING), (proc, READING), (DEVICES, READING | WRITE_FILE), (writable, WRITING))
    for names, granted in (*granted_to, (listed, READ_FOLDER)):
        for name in names:
            with suppress(FileNotFoundError):
                _allow(rules, name, granted & rights)
    prctl(NO_NEW_PRIVILEGES, 1)
    _checked(library().syscall(RESTRICT_SELF, rules, 0))
    os.close(rules)


def _allow(rules: int, name: str, rights: int) -> None:
    descriptor = os.open(name, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(name):
        rights &= ON_FILES
    _checked(library().syscall(ADD_RULE, rules, 1, struct.pack("=Qi", rights, descriptor), 0))
    os.close(descriptor)


def _checked(answer: int) -> int:
    if answer < 0:
        raise CannotConfineError(f"Landlock refused: {os.strerror(ctypes.get_errno())}")
    return answer


def enter_namespaces() -> None:
    """Own network, IPC and (for children) process table. Landlock leaves UDP and signals open; these don't.

    Raises:
        CannotConfineError: the system doesn't let an ordinary user make namespaces.
    """
    user, group = os.getuid(), os.getgid()
    if library().unshare(NEW_USER | NEW_PROCESSES | NEW_NETWORK | NEW_IPC) != 0:
        raise CannotConfineError(f"no namespaces: {os.strerror(ctypes.get_errno())}")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            raise CannotConfineError(f"no namespaces: {error}") from None


def become_first_process() -> None:
    """Go on as a child of the first process of the new process table; that one and this one only wait.

    When the job ends, so does the first process, and the kernel kills whatever is left in its table.
    """
    for dies_with_parent in (True, False):
        alive, held = os.pipe()
        child = os.fork()
        if child:
            ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            while not dies_with_parent and _reaped():  # orphans that are gone already
                pass
            os._exit(ending if ending >= 0 else 128 - ending)
        os.close(held)
        if dies_with_parent:
            prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
            if select.select([alive], [], [], 0)[0]:  # nobody holds the other end: it died before the call above
                os._exit(CANNOT_CONFINE)
        os.close(alive)


def die_with_parent(parent: int) -> None:
    """Be killed when `parent` is; end at once where it is dead already, since no signal would come any more."""
    prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(CANNOT_CONFINE)


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def main(order: dict, command: list[str]) -> None:
    """Give up what `order` says and become `command`."""
    if order["landlock"] is not None:
        die_with_parent(order["parent"])
        enter_namespaces()
        become_first_process()
        drop_capabilities()
        restrict_files(**order["landlock"])
    set_limits(order["limits"])
    if order["filter"]:
        by_name = CALLS_BY_NAME_OF_FILE if order["landlock"] is not None else {}
        refuse_calls(REFUSED_CALLS | by_name, order["cuda"])
    os.execv(command[0], command)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), sys.argv[2:])
    except (CannotConfineError, OSError, ValueError, KeyError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        sys.exit(CANNOT_CONFINE)
