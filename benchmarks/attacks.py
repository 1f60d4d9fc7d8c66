"""Programs that try to break out of the sandbox or to use more than they may.

Each prints ESCAPED where it succeeds. `{secret}` is a file of the host, `{outside}` a folder it can write,
`{port}` a listening port and `{victim}` a process. An attack on a limit succeeds where the run ends as
something other than what stands beside it.
"""

import platform
from dataclasses import dataclass

_CTYPES = "import ctypes; call = ctypes.CDLL(None, use_errno=True).syscall\n"


def _silent(act: str, before: str = "") -> str:
    """Try an act, and say so if nothing stopped it."""
    body = "\n".join(f"    {line}" for line in act.strip().splitlines())
    after = "    print('ESCAPED')\nexcept Exception as e:\n    print(type(e))"
    return f"import os, sys, socket, signal\n{before}try:\n{body}\n{after}"


def _syscall(number: int, *arguments: str) -> str:
    return _silent(f"if call({number}, {', '.join(arguments) or '0'}) == -1: raise OSError", _CTYPES)


# Descriptors from 3 on were inherited from the host: a file or socket that it forgot to close.
_STRAY = """
hits = []
for fd in range(3, 64):
    try: hits.append(os.fstat(fd))
    except OSError: pass
if not hits: raise OSError
"""

ATTACKS: dict[str, str] = {
    "read a secret": _silent("open({secret!r}).read()"),
    "read /etc/passwd": _silent("open('/etc/passwd').read()"),
    "read it through a symlink": _silent("os.symlink({secret!r}, 'link')\nopen('link').read()"),
    "read it by climbing": _silent("open('../' * 30 + {secret!r}.lstrip('/')).read()"),
    "hard-link a secret": _silent("os.link({secret!r}, 'link')"),
    "read through /proc/1/root": _silent("open('/proc/1/root' + {secret!r}).read()"),
    "read through /proc/self/fd": _silent("os.listdir('/proc/self/fd')"),
    "read other memory": _silent("open('/proc/{victim}/mem', 'rb')"),
    "list processes": _silent("os.listdir('/proc')"),
    "read /sys": _silent("os.listdir('/sys/class')"),
    "list devices": _silent("os.listdir('/dev')"),
    "list home": _silent("os.listdir('/home')"),
    "read installed packages": _silent("import pydantic"),
    "read the environment": _silent("if os.environ['STEPMINT_ATTACK_SECRET']: pass"),
    "open descriptors": _silent(_STRAY),
    "write outside": _silent("open({outside!r} + '/x', 'w').write('x')"),
    "write /tmp": _silent("open('/tmp/x', 'w').write('x')"),
    "write the root": _silent("open('/x', 'w').write('x')"),
    "write the library": _silent("open(os.__file__, 'a').write('')"),
    "rename the scratch folder": _silent("os.rename('/scratch', '/y')"),
    "make a device": _silent("os.mknod('disk', 0o60600, os.makedev(254, 0))\nopen('disk', 'rb').read(1)"),
    "set the user bit": _silent("os.chown('/scratch', 0, 0)"),
    "chroot out": _silent("os.mkdir('d')\nos.chroot('d')\nos.chdir('../' * 30)"),
    "connect to the host": _silent("socket.create_connection(('127.0.0.1', {port}), 1)"),
    "connect over IPv6": _silent("socket.socket(socket.AF_INET6).connect(('::1', {port}))"),
    "send a datagram": _silent(
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))"
    ),
    "resolve a name": _silent("socket.gethostbyname('example.org')"),
    "use a raw socket": _silent("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    "use an abstract socket": _silent("socket.socket(socket.AF_UNIX).bind(chr(0) + 'x')"),
    "use netlink": _silent("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)"),
    "fork": _silent("if os.fork() == 0: os._exit(0)"),
    "fork bomb": _silent("while True: os.fork()"),
    "spawn a shell": _silent("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'])"),
    "replace itself": _silent("os.execv(sys.executable, ['python', '-c', 'print(1)'])"),
    "os.system": _silent("if os.system('true') != 0: raise OSError"),
    "start a thread": _silent("import threading\nthreading.Thread(target=int).start()"),
    "detach a child": _silent("if os.fork() == 0:\n    os.setsid()\n    open({outside!r} + '/late', 'w')"),
    "leave the session": _silent("os.setsid()"),
    "kill the victim": _silent("os.kill({victim}, 9)"),
    "kill the parent": _silent("if os.getppid() == 0: raise OSError\nos.kill(os.getppid(), 9)"),
    "kill everybody": _silent("os.kill(-1, 9)"),
    "become root": _silent("os.setuid(0)"),
    "lower a limit": _silent("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))"),
    "raise a limit": _silent("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
}
"""Name -> program that prints ESCAPED where it succeeds."""
# By number, since Python has no function for them. The numbers of other machines differ.
if platform.machine() == "x86_64":  # calls by number
    ATTACKS |= {
        "trace a process": _syscall(101, "16", "{victim}", "0", "0"),
        "read another's memory by call": _syscall(310, "{victim}", "0", "0", "0", "0", "0"),
        "mount": _syscall(165, "b'none'", "b'/scratch'", "b'proc'", "0", "0"),
        "unmount": _syscall(166, "b'/scratch'", "2"),
        "new namespace": _syscall(272, "0x10000000"),
        "join a namespace": _syscall(308, "0", "0"),
        "open by handle": _syscall(304, "-100", "ctypes.create_string_buffer(64)", "0"),
        "io_uring": _syscall(425, "8", "ctypes.create_string_buffer(120)"),
        "bpf": _syscall(321, "0", "ctypes.create_string_buffer(72)", "72"),
        "a key ring": _syscall(250, "0", "-3", "1"),
        "perf": _syscall(298, "ctypes.create_string_buffer(112)", "0", "-1", "-1", "0"),
        "memory in a nameless file": _syscall(319, "b'x'", "0"),
        "shared memory": _syscall(29, "0", "4096", "0o1600"),
        "a 32-bit call number": _syscall(0x40000000 + 41, "2", "1", "0"),
        "drop the filter": _syscall(157, "22", "0", "0", "0", "0"),
        "outlive the parent": _syscall(157, "1", "0", "0", "0", "0"),
        "fork by the raw call": _silent("if call(57) == -1 and call(58) == -1: raise OSError", _CTYPES),
        "clone3": _silent("if call(435, ctypes.create_string_buffer(88), 88) == -1: raise OSError", _CTYPES),
    }


@dataclass(frozen=True)
class Excess:
    """A program that uses too much, and how its run must end (any of these)."""

    code: str
    ends: frozenset[str]


def _excess(code: str, *ends: str) -> Excess:
    return Excess(code, frozenset(ends))


EXCESSES: dict[str, Excess] = {
    "loop": _excess("while True: pass", "timeout"),
    "loop that swallows": _excess(
        "while True:\n try:\n  while True: pass\n except BaseException: pass", "timeout"
    ),
    "sleep": _excess("import time; time.sleep(60)", "timeout"),
    # A limit that asks by a signal would never end it; SIGKILL cannot be ignored.
    "ignore the signals": _excess(
        "import signal\nfor n in range(1, 65):\n try: signal.signal(n, signal.SIG_IGN)\n"
        " except (OSError, ValueError): pass\n"
        "while True: pass",
        "timeout",
    ),
    "allocate 4 GiB": _excess("x = bytearray(2**32)", "memory"),
    "allocate for ever": _excess("x = []\nwhile True: x.append(bytearray(2**20))", "memory"),
    "allocate in spite": _excess(
        "x = []\nwhile True:\n try: x.append(bytearray(2**20))\n except MemoryError: pass", "timeout"
    ),
    # Either limit may be reached first.
    "a huge power": _excess("9 ** 10 ** 9", "timeout", "memory"),
    "print for ever": _excess("while True: print('x' * 1000)", "output_limit"),
    "complain for ever": _excess("import sys\nwhile True: sys.stderr.write('x' * 1000)", "output_limit"),
    "print one huge line": _excess("print('x' * 10**8)", "output_limit", "memory"),
    # The scratch folder holds 16 MiB: writing more is an error of the program, which may go on.
    "fill the scratch folder": _excess(
        "for i in range(9):\n with open(str(i), 'wb') as f:\n  for _ in range(16): f.write(bytes(2**20))",
        "error",
    ),
    "a million files": _excess("for i in range(10**6): open(str(i), 'w').close()", "error"),
    "hold every descriptor": _excess("import os\nx = [os.pipe() for _ in range(1000)]", "error"),
    "recurse": _excess(
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()", "killed", "error", "memory", "timeout"
    ),
    "crash": _excess("import ctypes; ctypes.string_at(0)", "killed"),
    "abort": _excess("import os; os.abort()", "killed"),
}
