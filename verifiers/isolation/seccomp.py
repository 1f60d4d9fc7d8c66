"""The system calls sandboxed Python may make: an allow-list for seccomp, as a BPF program.

What is absent is refused with EPERM: starting processes and threads, sockets, mounts, tracing, shared memory,
keys, BPF, io_uring, and every call a newer kernel may add. The standard library alone is needed here.
"""

import ctypes
import os
import platform
import struct

_CALLS = """
    read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 open:2:- openat:257:56
    close:3:57 lseek:8:62 stat:4:- fstat:5:80 lstat:6:- newfstatat:262:79 statx:332:291 access:21:-
    faccessat:269:48 faccessat2:439:439 readlink:89:- readlinkat:267:78 getdents:78:- getdents64:217:61
    getcwd:79:17 chdir:80:49 fchdir:81:50 dup:32:23 dup2:33:- dup3:292:24 fcntl:72:25 flock:73:32
    fsync:74:82 fdatasync:75:83 truncate:76:45 ftruncate:77:46 mkdir:83:- mkdirat:258:34 rmdir:84:-
    unlink:87:- unlinkat:263:35 rename:82:- renameat:264:38 renameat2:316:276 link:86:- linkat:265:37
    symlink:88:- symlinkat:266:36 chmod:90:- fchmod:91:52 fchmodat:268:53 umask:95:166 utimensat:280:88
    statfs:137:43 fstatfs:138:44 pipe:22:- pipe2:293:59 poll:7:- ppoll:271:73 select:23:-
    pselect6:270:72 epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21 epoll_wait:232:-
    epoll_pwait:281:22 mmap:9:222 mprotect:10:226 munmap:11:215 mremap:25:216 madvise:28:233 brk:12:214
    futex:202:98 rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 sigaltstack:131:132
    kill:62:129 tgkill:234:131 alarm:37:- pause:34:- getitimer:36:102 setitimer:38:103 nanosleep:35:101
    clock_nanosleep:230:115 clock_gettime:228:113 clock_getres:229:114 gettimeofday:96:169 times:100:153
    getrandom:318:278 getpid:39:172 getppid:110:173 gettid:186:178 getpgrp:111:- getuid:102:174
    geteuid:107:175 getgid:104:176 getegid:108:177 getgroups:115:158 getrlimit:97:163 getrusage:98:165
    sysinfo:99:179 uname:63:160 sched_yield:24:124 sched_getaffinity:204:123
    restart_syscall:219:128 exit:60:93 exit_group:231:94
"""
"""Name, number on x86_64, number on aarch64 (`-`: it does not exist there)."""
_COLUMNS = {"x86_64": (0, 0xC000003E, 16, 302), "aarch64": (1, 0xC00000B7, 29, 261)}
"""Machine -> column in `_CALLS`, AUDIT_ARCH constant, numbers of ioctl and prlimit64."""
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONCLEX, FIOCLEX: what opening and asking about files needs."""
# BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JGE|BPF_K and BPF_RET|BPF_K.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
# On x86_64 the calls of the x32 interface have this bit set; they would pass by other numbers.
_X32 = 0x40000000
_PR_SET_SECCOMP, _MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def supported() -> bool:
    """Whether this machine's system calls are in the table."""
    return platform.machine() in _COLUMNS


def calls(machine: str) -> dict[str, int]:
    """The allowed system calls of a machine and their numbers; ioctl and prlimit64 are filtered apart."""
    column = _COLUMNS[machine][0]
    named = (entry.split(":") for entry in _CALLS.split())
    return {name: int(numbers[column]) for name, *numbers in named if numbers[column] != "-"}


def program(machine: str) -> bytes:
    """The filter as BPF instructions of eight bytes each. Raises KeyError on an unknown machine."""
    _, architecture, ioctl, prlimit = _COLUMNS[machine]
    code = [
        # Offset 4 of `struct seccomp_data` is the architecture, 0 the number of the call, 24 its second
        # argument. Another architecture has other numbers, so it is killed before numbers are compared.
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        # prlimit64 may tell limits and not set them: its third argument, the new limit (two words, from
        # offset 32), has to be null. Else a program could lower its own limit and be killed by it, which
        # looks as if the machine had run out of memory.
        (_EQUAL, 0, 6, prlimit),
        (_LOAD, 0, 0, 32),
        (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, 36),
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
        (_EQUAL, 0, 2 + 2 * len(_IOCTLS), ioctl),
        (_LOAD, 0, 0, 24),
    ]
    # ioctl does anything a driver offers, so it is allowed for the listed requests alone; the `None` refuses
    # the rest of them.
    for value in (*_IOCTLS, None, *calls(machine).values()):
        code += (
            [(_RETURN, 0, 0, _REFUSE)] if value is None else [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
        )
    code.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install() -> None:
    """Filter this process for good. Raises OSError where the kernel refuses, KeyError on another machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = program(platform.machine())
    filtered = _Program(len(code) // 8, code)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filtered), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
