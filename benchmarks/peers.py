"""What comparisons share: the peers' own environment, sides that take turns, the machine in words, files of figures.

The standard library alone: peers import this file inside their environment.
"""

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PEERS = HERE / ".peers"
REQUIREMENTS = ("torch==2.13.0", "transformers==5.24.0", "tokenizers==0.23.3", "keras-hub==0.32.0",
                "tensorflow==2.21.0", "tensorflow-text==2.21.1", "fasttext==0.9.3", "scikit-learn==1.9.1",
                "pypinyin==0.55.0", "onnx==1.23.2", "onnxruntime==1.32.0", "onnxscript==0.7.2")
OURS = ("tensorflow", "keras", "tokenizers", "numpy")  # whose versions a figure may depend on


def python():
    """The interpreter of the peers' environment, made at the first call and mended when the requirements change."""
    python, installed = PEERS / "bin" / "python", PEERS / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS) + "\n"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        print(f"installing the peers into {PEERS}: some minutes, 4 GB", flush=True)
        venv.create(PEERS, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        installed.write_text(wanted, encoding="utf-8")
    return python


def run(module, *arguments):
    """Runs a module of this folder in the peers' environment; returns the JSON of the last line that it prints."""
    output = subprocess.run(_command(module, arguments), cwd=HERE.parent, env=_environment(), check=True,
                            stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout
    return json.loads(output.splitlines()[-1])


class Side:
    """A module of this folder in the peers' environment that measures whenever it is asked and sleeps in between."""

    def __init__(self, module, *arguments):
        self.notes = tempfile.TemporaryFile("w+", encoding="utf-8")  # shown only if the side fails
        self.process = subprocess.Popen(_command(module, arguments), cwd=HERE.parent, env=_environment(),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.notes, text=True,
                                        encoding="utf-8")
        self._answer()  # to nothing: it is ready

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.notes.close()

    def ask(self, question):
        """Hands a JSON value to the side's function; returns what that returns."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.notes.seek(0)
            raise RuntimeError(f"{' '.join(map(str, self.process.args))} ended with code {code}:\n{self.notes.read()}")
        return json.loads(line)


def serve(measure):
    """The other end of a `Side`: answers each question with measure(question) until there are no more."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    print("null", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), file=answers, flush=True)


def take_turns(sides, question, rounds):
    """Asks every side once a round, so that a machine that slows down slows all of them.

    Args:
        sides: {name: something with `ask`}.

    Returns:
        {name: list of the answers, one a round}.
    """
    answers = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            answers[name].append(side.ask(question))
    return answers


def _command(module, arguments):
    return [python(), "-m", f"benchmarks.{module}", *map(str, arguments)]


def _environment():
    return {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}


def machine():
    """The machine and the versions on it, as a dict for the file of figures."""
    import psutil

    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {"cpu": named[1] if named else platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "ours": {name: importlib.metadata.version(name) for name in OURS},
            "peers": dict(requirement.split("==") for requirement in REQUIREMENTS)}


def read(path):
    """Rows of a .jsonl or .jsonl.gz file."""
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def table_row(*cells):
    """A row of a Markdown table; its cells may be any text."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def save(path, results, table):
    """Writes figures as JSON and their table as Markdown beside it, and shows the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    print(table)


def measure_sets(description, sets, measure, table, name):
    """The command of a benchmark with several sets: measures those that are asked for, keeps the figures of the others.

    Args:
        description: one line for --help.
        sets: all names, in the order of the table.
        measure: `measure(name of a set, folder of the open sets, folder for corpora and runs)` → dict of figures.
        table: `table({name of a set: figures})` → Markdown.
        name: of the file of figures and of that folder.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(sets)}; none = all")
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--work", type=Path, default=Path("runs") / name, help="where corpora and runs go")
    parser.add_argument("--to", type=Path, default=RESULTS / f"{name}.json", help="where the figures go")
    arguments = parser.parse_args()
    if unknown := set(arguments.sets) - set(sets):
        parser.error(f"a set must be one of {', '.join(sets)}. Received: {', '.join(sorted(unknown))}")
    for asked in arguments.sets or sets:
        work = arguments.work / asked
        work.mkdir(parents=True, exist_ok=True)
        figures = {"machine": machine(), **measure(asked, arguments.data, work)}
        results = json.loads(arguments.to.read_text(encoding="utf-8")) if arguments.to.exists() else {}
        results[asked] = figures
        results = {one: results[one] for one in sets if one in results}
        save(arguments.to, results, table(results))
