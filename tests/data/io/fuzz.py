"""Spoils the headers of small files at random and reads them: nothing may crash, hang, or make the memory grow.

    python tests/data/io/fuzz.py --rounds 10000 --seed 1

Each round takes a small file, changes some of its bytes, and reads it as a picture, as frames, as a slice among others
and as a volume. It may be read or refused; whatever else comes of it is a fault. The rounds run in a process that is
watched from outside: what ends it, or keeps it for a quarter of an hour, is a fault too.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

SECONDS = 10
"""Seconds of a processor that one reader may take; decoders are held to as much."""

HUNG = 900
"""Seconds of the clock without a word after which a round counts as hung, however busy the machine is."""


def watched(rounds: int, *, seed: int) -> dict:
    """What came of so many rounds in a process of their own."""
    path = os.pathsep.join(map(str, (HERE.parents[2] / "scripts", HERE.parents[1], HERE)))
    command = [sys.executable, str(HERE / "fuzzing.py"), str(rounds), str(seed)]
    said = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=said) as process:
        last = rest = b""
        while select.select([process.stdout], [], [], HUNG)[0]:
            piece = os.read(process.stdout.fileno(), 2**16)
            if not piece:
                break
            *lines, rest = (rest + piece).split(b"\n")
            last = lines[-1] if lines else last
        else:
            process.kill()
            return {"faults": [f"hangs in round {last.decode()}"]}
    if process.returncode or not last.startswith(b"{"):
        return {"faults": [f"ends with {process.returncode} in round {last.decode()}"]}
    return json.loads(last)


def main() -> None:
    """Print what came of the rounds; end with 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    found = watched(asked.rounds, seed=asked.seed)
    for name, value in {**found, "minutes": round((time.monotonic() - began) / 60, 1)}.items():
        print(f"{name}: {value}")
    sys.exit(bool(found["faults"]))


if __name__ == "__main__":
    main()
