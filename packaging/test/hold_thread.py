#!/usr/bin/env python3
"""Holds one thread of a process still, as if it were stuck, until this program is ended.

    hold_thread.py PID NAME     PID as seen here, NAME as in /proc/PID/task/*/comm

SIGSTOP stops a whole process, whichever thread it is sent to. A tracer can stop one thread and let the others go on.
"""

import ctypes
import os
import signal
import sys

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207


def thread_of(process, name):
    for task in sorted(os.listdir(f"/proc/{process}/task"), key=int):
        with open(f"/proc/{process}/task/{task}/comm", encoding="utf-8") as comm:
            if comm.read().strip() == name[:15]:
                return int(task)
    sys.exit(f"hold_thread: process {process} has no thread {name}")


def main():
    process, name = int(sys.argv[1]), sys.argv[2]
    thread = thread_of(process, name)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, thread, None, None) != 0:
            error = os.strerror(ctypes.get_errno())
            sys.exit(f"hold_thread: cannot hold thread {thread} of {process}: {error}")
    os.waitpid(thread, 0x40000000)  # __WALL: threads too
    print(f"thread {thread} ({name}) of {process} stands still", flush=True)
    signal.pause()


main()
