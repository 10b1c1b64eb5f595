"""schemathesis reads the server's own description and asks all that it allows and much that it does not."""

import subprocess
import sys

import pytest
import tensorflow as tf
from test_serve import Tiny, served


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder, module = tmp_path_factory.mktemp("fuzzed"), Tiny(3)
    texts, tensors = module.sizes.get_concrete_function(), module.pick.get_concrete_function()
    tf.saved_model.save(module, str(folder / "texts" / "1"), signatures={"serving_default": texts})
    tf.saved_model.save(module, str(folder / "tensors" / "1"), signatures={"serving_default": texts, "pick": tensors})
    with served(folder / "texts", folder / "tensors", max_texts=4, max_text_length=21) as found:
        yield found


# TensorFlow Serving answers another method with 400. No JSON Schema says that lists must be equally long, or that 1.0 is
# no integer: of tensors a 400 may follow.
@pytest.mark.parametrize("options", [["--exclude-path-regex", "/tensors", "--exclude-checks", "unsupported_method"], [
    "--include-path-regex", "/tensors", "--exclude-checks", "unsupported_method,positive_data_acceptance"]])
def test_every_answer_is_as_described(client, options, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{client.base_url}/openapi.json", "--max-examples", "10",
         "--phases", "coverage,fuzzing", "--request-timeout", "60", "--generation-deterministic", *options],
        cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert process.returncode == 0, process.stdout[-5000:] + process.stderr[-5000:]
