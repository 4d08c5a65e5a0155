"""Python runs this first where the folder is on PYTHONPATH: the process's clock is CLOCK_SHIFT_SECONDS off."""

from __future__ import annotations

import ctypes
import datetime
import gc
import os
import sys
import time

_shift = float(os.environ["CLOCK_SHIFT_SECONDS"])
_time, _time_ns = time.time, time.time_ns


def _shifted() -> float:
    # gRPC says by this clock until when it waits, to code in C whose clock is right.
    asks = sys._getframe(1).f_globals.get("__name__", "")
    return _time() if asks.startswith("grpc") else _time() + _shift


time.time = _shifted
time.time_ns = lambda: _time_ns() + int(_shift * 1e9)

# The class is made in C and takes no new attributes, so they are put where it keeps them.
_attributes = gc.get_referents(datetime.datetime.__dict__)[0]
_attributes["now"] = classmethod(lambda cls, tz=None: cls.fromtimestamp(time.time(), tz))
_attributes["utcnow"] = classmethod(lambda cls: cls.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None))
ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
