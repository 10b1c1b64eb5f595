"""Peak memory and speed of `prepare` as the corpus grows: each size in a process of its own.

    python -m benchmarks.prepare_memory --data FOLDER --megabytes 50 500

The text is the open sets' (FOLDER), repeated with a few characters of every sentence changed, so that documents stay
distinct and vocabulary and lengths stay real.
"""

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import RESULTS, read

SETS = ("imdb", "online_shopping", "agnews", "thucnews")


def write_text(data, megabytes, path):
    """Writes that much text, one document a line."""
    documents = [row["text"].replace("\n", " ") for name in SETS for row in read(data / name / "train.jsonl.gz")]
    chance = random.Random(0)
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < megabytes * 1_000_000:
            words, other = (units(chance.choice(documents)) for _ in range(2))
            # Every fourth word from somewhere else: far below the threshold for near-duplicates.
            words = [chance.choice(other) if chance.random() < 0.25 else word for word in words]
            line = "".join(words) + "\n"
            file.write(line)
            written += len(line.encode())


def units(text):
    """Words with the space before them, or characters where there are hardly any spaces."""
    return re.findall(r" ?[^ ]+", text) if text.count(" ") > len(text) / 20 else list(text)


def measure(text, folder):
    """Prepares one file in this process; prints seconds and peak memory as JSON."""
    from app.prepare import prepare

    started = time.perf_counter()
    manifest = prepare((str(text),), to=folder)
    print(json.dumps({"bytes": text.stat().st_size, "seconds": time.perf_counter() - started,
                      "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                      "documents": manifest["documents"]["train"], "tokens": manifest["tokens"]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required="--measure" not in sys.argv, help="folder of the open sets")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    results = []
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory() as temporary:
            text = Path(temporary) / "text.txt"
            write_text(arguments.data, megabytes, text)
            command = [sys.executable, "-m", "benchmarks.prepare_memory", "--measure", text, Path(temporary) / "corpus"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
        print({name: round(value) for name, value in results[-1].items()}, flush=True)
    target = RESULTS / "prepare_memory.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
