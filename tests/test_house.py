"""The folders keep to their sides, the packaging says one thing, the command line is quick and answers in one line."""

import ast
import configparser
import importlib
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import app
import data
import models
from app.__main__ import COMMANDS, main
from app.finetune import finetune
from app.objectives import OBJECTIVES
from app.pretrain import pretrain
from data.tasks import LABEL_ALIASES

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("app", "data", "models") for path in (ROOT / folder).glob("*.py"))


def imports_of(path, at_import_only=False):
    """The top-level packages that a file imports, inside functions too unless told otherwise."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(node.module.split(".")[0])
    return found


def python(*arguments, **options):
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
                          encoding="utf-8", timeout=300, **options)


def test_packages_come_from_this_checkout():
    for package in (app, data, models):
        assert Path(package.__file__) == ROOT / package.__name__ / "__init__.py"


@pytest.mark.parametrize(("folder", "forbidden"), [("data", {"models", "app"}), ("models", {"data", "app"})])
def test_data_and_models_never_meet(folder, forbidden):
    for path in (ROOT / folder).glob("*.py"):
        assert not imports_of(path) & forbidden, path


def test_commands_never_import_commands():
    for path in (ROOT / "app").glob("*.py"):
        if path.name in ("demo.py", "__main__.py"):  # the chain of all of them, and what starts them
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & {f"app.{name}" for name in COMMANDS}, path


def test_model_code_speaks_keras_alone():
    allowed = {"keras", "dataclasses", "math", "models"}
    for name in ("config", "transformer", "bert", "gpt", "seq2seq", "heads", "baseline", "optimizers", "generation",
                 "recommender"):
        assert imports_of(ROOT / "models" / f"{name}.py") <= allowed, name
    for name in ("layers", "attention"):  # where TensorFlow is the backend, it has a faster operation
        assert imports_of(ROOT / "models" / f"{name}.py", at_import_only=True) <= allowed, name
    assert imports_of(ROOT / "models" / "hub.py") <= {*allowed, "keras_hub", "sys"}


def test_every_file_says_what_it_is_for():
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_nothing_imports_tensorflow_text():
    for path in SOURCES:
        # KerasHub would import it too: models/hub.py does not let it.
        allowed = {"keras_hub"} if path.name == "hub.py" and path.parent.name == "models" else set()
        assert not imports_of(path) & {"tensorflow_text", "keras_nlp", "keras_hub"} - allowed, path


def test_setup_cfg_names_every_package_that_is_imported():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    required = {Requirement(line).name.lower().replace("_", "-")
                for line in setup["options"]["install_requires"].split("\n") if line}
    own = {"app", "data", "models"} | sys.stdlib_module_names
    distributions = importlib.metadata.packages_distributions()
    brought_along = {"numpy", "packaging", "google"}  # by TensorFlow, which cannot do without
    for name in set().union(*map(imports_of, SOURCES)) - own - brought_along:
        names = {distribution.lower().replace("_", "-") for distribution in distributions.get(name, [name])}
        assert names & required, f"{name} is imported and not in setup.cfg"


def test_environment_yml_agrees_with_setup_cfg():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
             if line.strip() and not line.strip().startswith("#")]
    name = next(line.removeprefix("name: ") for line in lines if line.startswith("name: "))
    assert name == setup["metadata"]["name"]
    assert lines[lines.index("- pip:"):] == ["- pip:", "- -e .[samples,test]"]
    assert {"samples", "test"} <= set(setup["options.extras_require"])
    dependencies = lines[lines.index("dependencies:") + 1 : lines.index("- pip:")]
    assert len(dependencies) == 2 and "- pip" in dependencies  # all else comes from setup.cfg
    version = re.fullmatch(r"- python=([\d.]+)", dependencies[0])[1]
    assert version in SpecifierSet(setup["options"]["python_requires"])


def test_the_package_list_is_whole():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    included = setup["options.packages.find"]["include"].split()
    assert set(included) == {"app", "app.*", "data", "data.*", "models", "models.*"}
    name = setup["metadata"]["name"]
    assert setup["options.entry_points"]["console_scripts"].strip() == f"{name} = app.__main__:main"


HELP = """
import contextlib, io, json, sys
from app.__main__ import COMMANDS, main
texts = {}
for arguments in (["--help"], *([name, "--help"] for name in COMMANDS)):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
    texts[arguments[0]] = [code, output.getvalue()]
print(json.dumps([texts, sorted({name.split(".")[0] for name in sys.modules})]))
"""


@pytest.fixture(scope="module")
def helps():
    process = python("-c", HELP)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_help_names_every_command_and_every_option(helps):
    texts, _ = helps
    assert [code for code, _ in texts.values()] == [0] * (1 + len(COMMANDS))
    for name, job in COMMANDS.items():
        assert name in texts["--help"][1] and job in texts["--help"][1]
        function = getattr(importlib.import_module(f"app.{name}"), name)
        described = inspect.getdoc(function)
        assert described.splitlines()[0] in " ".join(re.sub("[│╭╮╰╯─]", " ", texts[name][1]).split()), name
        for option, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                assert f"--{option.replace('_', '-')}" in texts[name][1], (name, option)
            assert re.search(rf"^\s+{option}: \S", described, re.MULTILINE), f"{name} does not explain {option}"


def test_options_offer_all_that_there_is():
    for command, option, table in ((finetune, "task", LABEL_ALIASES), (pretrain, "objective", OBJECTIVES)):
        assert set(typing.get_args(typing.get_type_hints(command)[option])) == set(table)


def test_help_imports_nothing_heavy(helps):
    _, modules = helps
    assert not set(modules) & {"tensorflow", "keras", "numpy", "pandas", "sklearn", "matplotlib", "jieba", "tokenizers"}


def test_reading_text_needs_no_tensorflow():
    process = python("-c", "import sys, data.sources, data.corpus, data.tasks, models.run_folder; "
                           "print('tensorflow' in sys.modules, 'keras' in sys.modules)")
    assert process.stdout.split() == ["False", "False"], process.stderr


WITHOUT_TENSORFLOW_TEXT = """
import importlib, pathlib, sys
sys.modules["tensorflow_text"] = None  # importing it is an error from now on
for folder in ("app", "data", "models"):
    for path in sorted(pathlib.Path(folder).glob("*.py")):
        if path.stem != "__init__":
            importlib.import_module(f"{folder}.{path.stem}")
from app.classifier import load_classifier
print(load_classifier(sys.argv[1]).probabilities(["a good film", "质量很差"]).shape)
assert not [name for name in sys.modules if "tensorflow_text" in name and sys.modules[name]]
"""


def test_the_chain_runs_without_tensorflow_text(classifier_run):
    process = python("-c", WITHOUT_TENSORFLOW_TEXT, classifier_run)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "(2, 2)\n"


def test_an_unknown_command_is_one_line():
    process = python("-m", "app", "pretrian")
    assert process.returncode == 2 and process.stdout == ""
    assert process.stderr == f"error: a command is one of {', '.join(COMMANDS)}. Received: pretrian\n"


def test_no_command_shows_the_usage():
    process = python("-m", "app")
    assert process.returncode == 2 and process.stdout.startswith("usage: fromzero COMMAND") and process.stderr == ""


def test_a_wrong_path_is_one_line_and_no_traceback(tmp_path, capsys):
    nowhere, to = str(tmp_path / "nowhere"), ["--to", str(tmp_path / "to")]
    for arguments in (["prepare", f"{nowhere}.txt", *to], ["pretrain", nowhere, *to]):  # without and with TensorFlow
        process = python("-m", "app", *arguments)
        assert process.returncode == 2 and process.stdout == ""
        assert re.fullmatch(r"error: .*nowhere.*\n", process.stderr)
    for arguments in (["finetune", "--data", f"{nowhere}.csv", *to], ["predict", nowhere, "a text"],
                      ["evaluate", nowhere, "--data", f"{nowhere}.csv"], ["export", nowhere, *to]):
        assert main(arguments) == 2
        assert re.fullmatch(r"error: .*nowhere.*\n", capsys.readouterr().err), arguments
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("show", ["print(line, flush=True)", "app.terminal.console.print(line)"])
def test_a_reader_that_has_seen_enough_is_no_error(show):
    program = ("import sys, app.__main__, app.doctor, app.terminal\n"
               f"app.doctor.doctor = lambda: [{show} for line in range(100_000)]\n"
               "sys.exit(app.__main__.main(['doctor']))")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("app.doctor.doctor", lambda: json.loads("{"))  # a library's ValueError
    with pytest.raises(json.JSONDecodeError):
        main(["doctor"])
