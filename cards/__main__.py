"""``python -m cards``: draws the cards that come in on stdin, a JSON object a line, until it is closed.

Each is answered on stdout with :data:`cards.process.ANSWER` and as many bytes: a PNG, or why there is none.
"""

from __future__ import annotations

import os
import sys

import orjson

from cards import png
from cards.drawing import CardDrawing
from cards.process import ANSWER, NICER


def main() -> None:
    """Draw until nobody asks any more."""
    os.nice(NICER)
    drawing = CardDrawing()
    for line in sys.stdin.buffer:
        try:
            drawn, answer = True, png.compress(drawing.draw(orjson.loads(line)), None)
        except Exception as error:  # whatever is wrong with one card, the next one is drawn
            drawn, answer = False, f"{type(error).__name__}: {error}".encode()
        try:
            sys.stdout.buffer.write(ANSWER.pack(drawn, len(answer)) + answer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Whoever asked was killed. What is left in the buffer has to go somewhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return


if __name__ == "__main__":
    main()
