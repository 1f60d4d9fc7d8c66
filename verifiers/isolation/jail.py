"""The inside of the sandbox, run by `sandbox` as `python -m verifiers.isolation.jail DESCRIPTOR`.

The process moves into new user, mount, PID, network, IPC, UTS and cgroup namespaces and forks. The child is
the only process of its PID namespace; it sees a read-only standard library and one scratch folder, drops
every privilege, filters its system calls, and only then runs the code. Any step that fails ends it before
that. Nothing here is imported into the host's process.
"""

import builtins
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import types
from typing import Any

from verifiers.isolation import seccomp

NOBODY = 65534
SCRATCH = "/scratch"
# CLONE_NEWUSER, NEWNS, NEWPID, NEWNET, NEWIPC, NEWUTS and NEWCGROUP of linux/sched.h, in this order.
_NAMESPACES = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
# Flags of mount(2), MS_RDONLY to MS_DETACH; the standard library has no names for them.
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_REC, _PRIVATE, _DETACH = 16384, 1 << 18, 2
_KEPT = _NOEXEC | 1024 | 2048
"""A bind keeps its source's noexec, noatime and nodiratime: the kernel locks them in a user namespace."""
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_CAPABILITIES_V3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(control: int) -> None:
    """Set up, fork, and in the child run the job that the standard input holds."""
    try:
        os.umask(0o022)
        _call("unshare", _NAMESPACES)
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.write(control, b"unshared\n")
        if os.read(control, 1) != b"g":
            raise OSError("the user namespace was not mapped")
        job = json.loads(_read_all(0))
        child = os.fork()
        if child:
            _supervise(child, control)
        _confine(job)
    except BaseException as error:
        os.write(control, f"failed {type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os.write(control, b"ready\n")
    os.close(control)
    _run(job["code"])


def _call(name: str, *arguments: Any) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _read_all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))


def _supervise(child: int, control: int) -> None:
    """Wait for the program, kill it when told to, say how it ended. Never returns."""

    def stop(*_: object) -> None:
        # A program may end in the moment in which it is told to: then it is told, and how it ended counts.
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    _, status, usage = os.wait4(child, 0)
    code, cpu = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
    os.write(control, f"exit {code} {cpu:.3f} {usage.ru_maxrss}\n".encode())
    os._exit(0)


def _confine(job: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    library = [path for path in sys.path if os.path.isdir(path) and path != job["package_root"]]
    sys.path[:] = library
    with open("/proc/self/statm", encoding="ascii") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    _new_root(library, job["files_bytes"])
    _fill_scratch(job)
    _limit(job, mapped)
    # The host's root is root here as well, and may read root's files: it becomes nobody before the code runs.
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _call("capset", (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)())
    # Not dumpable, its files under /proc belong to root, and no other process may trace it.
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    seccomp.install()


def _new_root(library: list[str], files_bytes: int) -> None:
    """Replace the file system by the standard library (read-only) and an empty scratch folder."""
    _mount("none", "/", None, _REC | _PRIVATE)
    _mount("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    os.mkdir("/tmp/old")
    pivot_root = _PIVOT_ROOT[os.uname().machine]
    if _LIBC.syscall(pivot_root, b"/tmp", b"/tmp/old") != 0:
        raise OSError(ctypes.get_errno(), f"pivot_root: {os.strerror(ctypes.get_errno())}")
    os.chdir("/")
    for path in library:
        if not os.path.isdir(path):  # lib-dynload comes with the folder that holds it
            _show(path)
    _call("umount2", b"/old", _DETACH)
    os.rmdir("/old")
    os.mkdir(SCRATCH)
    options = f"size={files_bytes},nr_inodes=1024,mode=777"
    _mount("tmpfs", SCRATCH, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    _mount("none", "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    os.chdir(SCRATCH)


def _show(path: str) -> None:
    source, kept = f"/old{path}", os.statvfs(f"/old{path}").f_flag & _KEPT
    os.makedirs(path)
    _mount(source, path, None, _BIND)
    _mount("none", path, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | kept)
    for packages in (f"{path}/site-packages", f"{path}/dist-packages"):
        if os.path.isdir(packages):  # installed packages are the host's business
            _mount("tmpfs", packages, "tmpfs", _RDONLY | _NOSUID | _NODEV, "size=4k,mode=755")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    name = kind.encode() if kind else None
    if _LIBC.mount(source.encode(), target.encode(), name, ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def _fill_scratch(job: dict[str, Any]) -> None:
    for name, text in job["files"].items():
        with open(f"{SCRATCH}/{name}", "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
        os.chmod(f"{SCRATCH}/{name}", 0o666)
    descriptor = os.open(f"{SCRATCH}/.stdin", os.O_RDWR | os.O_CREAT)
    with open(descriptor, "w", encoding="utf-8", errors="surrogatepass", closefd=False) as file:
        file.write(job["stdin"])
    os.lseek(descriptor, 0, os.SEEK_SET)
    # The input is a file without a name: seekable as a file is, and of no weight in the scratch folder's
    # listing.
    os.unlink(f"{SCRATCH}/.stdin")
    os.dup2(descriptor, 0)
    os.close(descriptor)


def _limit(job: dict[str, Any], mapped: int) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, mapped + job["memory_bytes"]),
        (resource.RLIMIT_FSIZE, job["files_bytes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 1),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    # The first limit sends SIGXCPU, which says why. A program that ignores it is killed at the second.
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_s"], job["cpu_s"] + 1))


def _run(code: str) -> None:
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.argv = ["main.py"]
    exec(compile(code, "main.py", "exec"), module.__dict__)  # the one place, and everything is confined


if __name__ == "__main__":
    main(int(sys.argv[1]))
