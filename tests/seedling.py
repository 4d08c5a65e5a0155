"""A process that says what it finds itself to be, and fails if told to."""

from __future__ import annotations

import json
import os
import random
import sys
import threading

from schemas.ids import new_share_token, uuid7

if __name__ == "__main__":
    found = {
        "words": sys.argv[1:],
        "colour": os.environ.get("COLOUR"),
        "nice": os.nice(0),
        "leads_its_session": os.getsid(0) == os.getpid(),
        "threads": threading.active_count(),
        "chance": [str(uuid7()), new_share_token(), random.random()],
        "stdin": sys.stdin.read(),
    }
    print(json.dumps(found))
    sys.exit(3 if sys.argv[1] == "fails" else 0)
