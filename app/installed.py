"""What is on this machine, as it is found: the facts that app/installation.py judges."""

import configparser
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("app", "data", "models")
# Run in a process of its own: a TensorFlow that crashes on import must not take the doctor with it.
PROBE = """
import json, tensorflow as tf
print("\\n" + json.dumps({"version": tf.__version__, "cuda_build": tf.test.is_built_with_cuda(),
                         "gpus": len(tf.config.list_physical_devices("GPU"))}))
"""


def required(extra=None):
    """The requirements in setup.cfg, where versions stand once: those of the chain or those of an extra."""
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    lines = config["options.extras_require"][extra] if extra else config["options"]["install_requires"]
    return [Requirement(line) for line in lines.strip().splitlines()]


def installed_versions():
    """Every distribution in this environment: {canonical name: version}."""
    return {canonicalize_name(distribution.name): distribution.version
            for distribution in importlib.metadata.distributions() if distribution.name}


def conda_packages(prefix):
    """Names of the packages that conda put into this environment; empty outside conda."""
    return sorted(json.loads(path.read_text(encoding="utf-8"))["name"] for path in prefix.glob("conda-meta/*.json"))


def probe_tensorflow():
    """{"version", "cuda_build", "gpus"}, or {"error": the last line that TensorFlow said}."""
    process = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, errors="replace")
    if process.returncode == 0:
        return json.loads(process.stdout.splitlines()[-1])
    lines = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
    return {"error": lines[-1]}


def configured_backend():
    """The backend that Keras's configuration file names, if there is one that can be read."""
    folder = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))
    try:
        return json.loads((folder / "keras.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def package_folders():
    """Where Python finds our three packages: {name: folder or None}."""
    specs = {name: importlib.util.find_spec(name) for name in PACKAGES}
    return {name: Path(spec.origin).resolve().parent if spec and spec.origin else None
            for name, spec in specs.items()}


def machine():
    """(CPU cores, bytes of memory, bytes of memory that are free, bytes free on the disk of the current folder)."""
    import psutil

    memory = psutil.virtual_memory()
    return os.cpu_count(), memory.total, memory.available, shutil.disk_usage(Path.cwd()).free
