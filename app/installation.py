"""What is installed on this machine in, findings out: what is well, what would go wrong, how to mend it.

The checks are pure functions, so that a test can show them any broken installation.
"""

import dataclasses
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from app.installed import (CHECKOUT, conda_packages, configured_backend, installed_versions, machine, package_folders,
                           probe_tensorflow, required)

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the table: status "ok", "warn" or "fail"; what was found; how to mend it ("" when ok)."""

    status: str
    what: str
    mend: str = ""


def examine():
    """Gathers the facts and runs every check on them.

    Returns:
        A list of `Finding`, in the order of the table.
    """
    versions = installed_versions()
    return [
        check_python(platform.python_version(), platform.system(), platform.machine()),
        *check_packages(required(), versions),
        *check_keras_hub(versions),
        *check_conda(conda_packages(Path(sys.prefix)), versions),
        *check_tensorflow(probe_tensorflow(), shutil.which("nvidia-smi") is not None),
        *check_environment(os.environ, configured_backend()),
        *check_checkout(package_folders(), importlib.metadata.packages_distributions()),
        check_samples(required("samples"), versions),
        *check_machine(*machine()),
    ]


def check_python(version, system, machine_type):
    """Python ≥ 3.11."""
    what = f"Python {version} on {system} {machine_type}"
    if tuple(map(int, version.split(".")[:2])) < (3, 11):
        return Finding(FAIL, what, "Python 3.11 or newer is needed: conda env create -f environment.yml")
    return Finding(OK, what)


def check_packages(requirements, versions):
    """Is everything that setup.cfg requires installed in a version that it allows?"""
    for requirement in requirements:
        version = versions.get(canonicalize_name(requirement.name))
        mend = f'pip install "{requirement}"'
        if version is None:
            yield Finding(FAIL, f"{requirement.name} is not installed", mend)
        elif not requirement.specifier.contains(version, prereleases=True):
            yield Finding(FAIL, f"{requirement.name} {version}, but {requirement.specifier} is needed", mend)
        else:
            yield Finding(OK, f"{requirement.name} {version}")


def check_keras_hub(versions):
    """keras-nlp is a shell around keras-hub: without it, it is a stub or too old for Keras 3."""
    shell, hub = versions.get("keras-nlp"), versions.get("keras-hub")
    mend = 'pip install --upgrade keras-nlp keras-hub'
    if shell and not hub:
        yield Finding(FAIL, f"keras-nlp {shell} without keras-hub: a stub, or too old for Keras 3", mend)
    elif shell and shell != hub:
        yield Finding(WARN, f"keras-nlp {shell} and keras-hub {hub} are of different releases", mend)
    elif shell:
        yield Finding(OK, f"keras-hub {hub} behind keras-nlp")


def check_conda(conda_names, versions):
    """TensorFlow's libraries from conda and from pip in one environment crash, or shadow each other."""
    from_conda = [name for name in conda_names if name.startswith(("tensorflow", "libtensorflow", "keras"))]
    if from_conda:
        beside = f" beside TensorFlow {versions['tensorflow']} of this environment" if "tensorflow" in versions else ""
        yield Finding(FAIL, f"from conda: {', '.join(from_conda)}{beside}",
                      "conda env remove -n fromzero, then conda env create -f environment.yml")
    elif conda_names:
        yield Finding(OK, "Conda environment with TensorFlow from pip")


def check_tensorflow(probe, nvidia_driver):
    """Does TensorFlow start, and does it see the GPU that is there?"""
    if "error" in probe:
        yield Finding(FAIL, f"import tensorflow fails: {probe['error'][:200]}",
                      "pip install --force-reinstall tensorflow; an illegal instruction means a CPU without AVX")
        return
    build = "CUDA" if probe["cuda_build"] else "CPU"
    what = f"TensorFlow {probe['version']}, {build} build, {probe['gpus']} GPU(s) seen"
    if nvidia_driver and not probe["gpus"]:
        yield Finding(WARN, f"{what}, though an NVIDIA driver is installed", 'pip install "tensorflow[and-cuda]"')
    else:
        yield Finding(OK, what if probe["gpus"] else f"{what}: the CPU does the work")


def check_environment(variables, configured=None):
    """Settings that make Keras something else than Keras 3 on TensorFlow."""
    backend = variables.get("KERAS_BACKEND") or configured or "tensorflow"
    if backend != "tensorflow":
        yield Finding(FAIL, f"Keras runs on {backend}",
                      "training and export speak TensorFlow: unset KERAS_BACKEND or mend ~/.keras/keras.json")
    if variables.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true"):
        yield Finding(FAIL, "TF_USE_LEGACY_KERAS is set", "unset TF_USE_LEGACY_KERAS: it puts Keras 2 under TensorFlow")


def check_checkout(folders, distributions, checkout=CHECKOUT):
    """`app`, `data` and `models` are common names: do they come from this checkout, and does nobody else have them?

    Args:
        folders: {package: folder or None}.
        distributions: {package: names of the distributions that install it}.
        checkout: where they should come from.
    """
    elsewhere = {name: folder for name, folder in folders.items() if folder != checkout / name}
    for name, folder in elsewhere.items():
        yield Finding(FAIL, f"the package {name} comes from {folder or 'nowhere'}, not from {checkout}",
                      f"run from {checkout}, or pip uninstall the other one, then pip install -e .")
    for name in folders:
        if others := sorted(set(distributions.get(name, ())) - {"fromzero"}):
            yield Finding(WARN, f"{', '.join(others)} installs a package {name} too",
                          f"pip uninstall {' '.join(others)}")
    if not elsewhere:
        yield Finding(OK, f"app, data and models from {checkout}")


def check_samples(requirements, versions):
    """Is the real text of `sample:` and of the demo there?"""
    missing = [str(requirement) for requirement in requirements
               if canonicalize_name(requirement.name) not in versions]
    if missing:
        return Finding(WARN, f"real text for sample: and demo is missing: {', '.join(missing)}",
                       'pip install -e ".[samples]"')
    return Finding(OK, "real text for sample: and demo")


def check_machine(cores, memory, free_memory, free_disk):
    """Enough for the demo? Memory and disk in bytes."""
    gib = 2**30
    what = f"{free_memory / gib:.1f} of {memory / gib:.1f} GiB memory free, {cores} cores"
    yield (Finding(OK, what) if free_memory >= 2 * gib else
           Finding(WARN, what, "the demo takes about 2 GiB: close other programs"))
    what = f"{free_disk / gib:.1f} GiB free on this disk"
    yield Finding(OK, what) if free_disk >= gib else Finding(WARN, what, "the demo writes about 1 GiB: make room")
