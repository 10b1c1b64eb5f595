"""Speed and peak memory of `prepare` as the corpus grows: each size in a process of its own.

    python -m benchmarks.prepare --data FOLDER --megabytes 100 1000

The text is the open sets' (FOLDER), repeated with every fourth word from another document, so that documents stay
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

from benchmarks import peers

SETS = ("imdb", "online_shopping", "agnews", "thucnews")


def write_text(data, megabytes, path):
    """Writes that much text, one document a line."""
    documents = [row["text"].replace("\n", " ") for name in SETS for row in peers.read(data / name / "train.jsonl.gz")]
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
    """Prepares one file in this process; prints what it took as JSON."""
    from app.prepare import prepare

    started = time.perf_counter()
    manifest = prepare((str(text),), to=folder)
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"bytes": text.stat().st_size, "seconds": seconds,
                      "processor_seconds": used.ru_utime + used.ru_stime,
                      "peak_bytes": used.ru_maxrss * 1024, "documents": manifest["documents"]["train"],
                      "tokens": manifest["tokens"]}))


def table(results):
    """The figures as Markdown."""
    lines = ["| text, MB | documents | s | MB/s | processor, s | MB/s and core | peak memory, GB |",
             "|---|---|---|---|---|---|---|"]
    for size in results["sizes"]:
        megabytes = size["bytes"] / 1e6
        lines.append(f"| {megabytes:,.0f} | {size['documents']:,} | {size['seconds']:.0f} | "
                     f"{megabytes / size['seconds']:.1f} | {size['processor_seconds']:.0f} | "
                     f"{megabytes / size['processor_seconds']:.1f} | {size['peak_bytes'] / 1e9:.2f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required="--measure" not in sys.argv, help="folder of the open sets")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--to", type=Path, default=peers.RESULTS / "prepare.json", help="where the figures go")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    results = {"machine": peers.machine(), "sizes": []}
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory() as temporary:
            text = Path(temporary) / "text.txt"
            write_text(arguments.data, megabytes, text)
            command = [sys.executable, "-m", "benchmarks.prepare", "--measure", text, Path(temporary) / "corpus"]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results["sizes"].append(json.loads(output.splitlines()[-1]))
    peers.save(arguments.to, results, table(results))


if __name__ == "__main__":
    main()
