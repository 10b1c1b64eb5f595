"""What README, CONTRIBUTING and the notebooks tell a reader to type: it runs, its options exist, and both languages agree."""

import contextlib
import csv
import functools
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro
from conftest import some_sentences

from app.__main__ import COMMANDS, main
from data.samples import read_sample
from models.run_folder import load_config

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh.md")
DOCUMENTS = (*READMES, "CONTRIBUTING.md", *(f"notebooks/{path.name}" for path in sorted(ROOT.glob("notebooks/*.ipynb"))))
SHELL, PYTHON, PRINTED = "<!-- runnable -->", "<!-- runnable python -->", "<!-- printed -->"
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
CALLED = re.compile(r"(?:fromzero|python -m app) (.*)")  # with its arguments behind it


def read(document):
    """A document as Markdown; of a notebook the text cells."""
    text = (ROOT / document).read_text(encoding="utf-8")
    if document.endswith(".md"):
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def parts(text):
    """(mark, code) of each indented block, where the mark is the comment before it or ""; and the text without them."""
    blocks, others, code, mark = [], [], [], ""
    for line in [*text.splitlines(), "end"]:
        if line.startswith("    ") and (code or not others[-1].strip()):
            code.append(line[4:])
        elif code and not line.strip():
            code.append("")
        else:
            if code:
                blocks.append((mark, "\n".join(code).rstrip() + "\n"))
                code, mark = [], ""
            if line.strip():
                mark = line if line in (SHELL, PYTHON, PRINTED) else ""
            others.append(line)
    return blocks, "\n".join(others[:-1])


def headings(text):
    """(the anchor that GitHub gives it, what stands below it) of each heading."""
    found = [("", [])]
    for line in text.splitlines():
        if heading := re.match(r"#+ (.*)", line):
            found.append((re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-"), []))
        found[-1][1].append(line)
    return [(anchor, "\n".join(lines)) for anchor, lines in found]


@functools.cache
def options_in_help(name):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main([name, "--help"])
    lines = re.findall(r"^[│ ] (?:-h, )?(--.*)", output.getvalue(), re.MULTILINE)
    return {option for line in lines for option in re.findall(r"(?:^|, )(--[\w-]+)", line)}


def refusal(line):
    """What a command says of arguments that it does not take; "" if it takes them."""
    name, *arguments = shlex.split(line, comments=True)
    if name not in COMMANDS:
        return f"no command: {name}"
    command = getattr(importlib.import_module(f"app.{name}"), name)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            tyro.cli(functools.wraps(command)(lambda *given, **options: None), args=arguments)
        except SystemExit as stop:
            return said.getvalue() if stop.code else ""
    return ""


def mistakes(text):
    """What is wrong with the commands of a Markdown text: whole ones in blocks, and in `code` also parts of them."""
    blocks, rest = parts(text)
    for line in "".join(code for _, code in blocks).replace("\\\n", " ").splitlines():
        if (called := CALLED.fullmatch(line)) and (reason := refusal(called[1])):
            yield f"{line}: {reason}"
    for code in re.findall(r"`([^`]+)`", rest.replace("\n", " ")):
        called = CALLED.fullmatch(code)
        name = (called[1] if called else code).split()[0]
        options = re.findall(r"(?<![\w-])--[\w-]+", code)
        if name in COMMANDS:
            yield from (f"{code}: {name} has no {option}" for option in options if option not in options_in_help(name))
        elif called and name not in ("COMMAND", "命令"):
            yield f"{code}: no command: {name}"
        elif name.startswith("--") and not any(set(options) <= options_in_help(command) for command in COMMANDS):
            yield f"{code}: no command has that"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_options_exist(document):
    assert not list(mistakes(read(document)))


@pytest.mark.parametrize(("text", "mistake"), [
    ("\n    fromzero predict runs/x --num-beans 3", "--num-beans"),
    ("\n    python -m app pretrian corpora/x --to runs/y", "no command: pretrian"),
    ("\n    fromzero finetune --data a.csv --to runs/y \\\n        --task sentimental  # a comment", "sentimental"),
    ("\n    fromzero pretrain corpora/x --minutes 3", "--to"),
    ("as in `pretrain --accumulate 8 --objectives clm`", "pretrain has no --objectives"),
    ("by `python -m app\nserv export/x`", "no command: serv"),
    ("with `--temprature`", "no command has that")])
def test_a_mistake_is_found(text, mistake):
    [found] = mistakes(text)
    assert mistake in found


def test_right_commands_are_no_mistakes():
    right = ("`fromzero COMMAND …`, `pretrain --accumulate 8`, `--rematerialise`, `finetune --data … --fresh --no-fresh`\n\n"
             "    fromzero predict runs/x 'a text' --num-beams 3  # --num-beans\n    a line that prints: fromzero predict --x\n")
    assert not list(mistakes(right))


def test_the_readmes_have_the_same_blocks_and_figures():
    texts = [read(readme) for readme in READMES]
    first, second = ([(mark, re.sub(r"#.*", "", code)) for mark, code in parts(text)[0]] for text in texts)
    assert first == second
    for (name, english), (_, chinese) in zip(*map(headings, texts), strict=True):
        figures = [sorted(NUMBER.findall(re.sub(r"\(#.*?\)", "", section))) for section in (english, chinese)]
        assert figures[0] == figures[1], name


@pytest.mark.parametrize("document", DOCUMENTS[:3])
def test_every_mark_belongs_to_a_block(document):
    blocks, rest = parts(read(document))
    comments = [line for line in rest.splitlines() if line.startswith("<!--") and "results" not in line]
    assert comments == [mark for mark, _ in blocks if mark] != []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = read(document)
    _, prose = parts(text)
    for link in re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", prose):
        path, _, anchor = "".join(link).partition("#")
        if path.startswith("https://"):
            continue
        if path:
            assert (ROOT / document).parent.joinpath(path).exists(), path
        else:
            assert anchor in dict(headings(text)), anchor


@pytest.fixture
def folder(tmp_path):
    """The files that the blocks read."""
    reviews = [(row["text"].replace("\n", " "), row["label"]) for row, _ in zip(read_sample("reviews-zh"), range(500))]
    (tmp_path / "my_texts").mkdir()
    (tmp_path / "my_texts" / "reviews.txt").write_text("\n".join(text for text, _ in reviews[:250]), encoding="utf-8")
    sentences = some_sentences(200)
    comments = [(text, {"pos": "OK", "neg": "有害"}[label]) for text, label in sentences]
    for name, rows in (("train", reviews[250:450]), ("test", reviews[450:]), ("comments", comments)):
        with open(tmp_path / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    subtitles = [f"{number}\n00:00:01,000 --> 00:00:02,000\n{text}\n" for number, (text, _) in enumerate(sentences, 1)]
    (tmp_path / "film.srt").write_text("\n".join(subtitles), encoding="utf-8")
    return tmp_path


def printed_by(mark, code, folder):
    command = [sys.executable, "-c", code] if mark == PYTHON else ["bash", "-e", "-c", code]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
                             capture_output=True, text=True, encoding="utf-8", timeout=600)
    assert process.returncode == 0, f"{code}\n{process.stdout}\n{process.stderr}"
    return process.stdout


def without_numbers(text):
    # The precision is the machine's.
    return {" ".join(NUMBER.sub("0", line.replace("bfloat", "float")).split()) for line in text.splitlines()}


@pytest.mark.slow
def test_the_readmes_blocks_run(folder):
    """In their order; what is said to be printed is, but for the numbers. Both READMEs have the same blocks."""
    blocks, _ = parts(read("README.md"))
    output = ""
    for mark, code in blocks:
        if mark == PRINTED:
            assert without_numbers(code) - {""} <= without_numbers(output)
        elif mark:
            output = printed_by(mark, code, folder)


CHECKS = """
from app.classifier import load_classifier
from data.sources import fingerprint
assert load_classifier("runs/by-neighbours").probabilities(["the film was wonderful"]).shape == (1, 2)
before = fingerprint("srt:film.srt")
Path("film.srt").write_text("1\\n00:00 --> 00:01\\nanother text")
assert before != fingerprint("srt:film.srt")
"""


@pytest.mark.slow
def test_the_examples_of_contributing_run(folder):
    blocks, _ = parts(read("CONTRIBUTING.md"))
    codes = [code for mark, code in blocks if mark == PYTHON]
    printed_by(PYTHON, "\n".join([*codes, CHECKS]), folder)
    assert load_config(folder / "runs" / "toxicity", "classifier")["label_names"] == ["acceptable", "toxic"]
    assert load_config(folder / "runs" / "by-neighbours", "classifier")["family"] == "neighbours"
    manifest = json.loads((folder / "corpora" / "film" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["documents"]["read"] == 200
