"""Runs a program for which one ioctl of V4L2 never returns, as with a driver that hangs.

    python hang.py PROGRAM [ARGUMENT…]

Stopping a stream (VIDIOC_STREAMOFF) is handed to a supervisor that never answers (seccomp_unotify(2)): the caller stays in
the kernel until it is killed.
"""

import ctypes
import os
import platform
import struct
import sys

STREAMOFF = 0x40045613
IOCTL, SECCOMP = {"x86_64": (16, 317), "aarch64": (29, 277)}[platform.machine()]
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8
ALLOW, USER_NOTIF = 0x7FFF0000, 0x7FC00000
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def main():
    # struct seccomp_data: the number stands at 0, the low half of the second argument at 24.
    steps = [
        (LOAD, 0, 0, 0),
        (JUMP_EQUAL, 0, 3, IOCTL),
        (LOAD, 0, 0, 24),
        (JUMP_EQUAL, 0, 1, STREAMOFF),
        (RETURN, 0, 0, USER_NOTIF),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(steps), code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    listener = libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    # As long as somebody has it, the call waits for an answer: the program itself keeps it.
    os.set_inheritable(listener, True)
    os.execvp(sys.argv[1], sys.argv[1:])


main()
