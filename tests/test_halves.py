import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from app.terminal import import_tensorflow
from models.halves import halves, in_halves

HALF = max(1, (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) // 2)


@pytest.mark.parametrize("rows, split", [(0, (0, 0)), (1, (1, 0)), (5, (3, 2)), (6, (3, 3))])
def test_a_graph_computes_halves_and_a_row_gets_what_it_would_get_alone(rows, split):
    seen = []

    def sums(half):
        seen.append(half["ids"])
        return tf.reduce_sum(half["ids"], axis=1)

    def results(ids, names):
        return {"sum": in_halves(sums, {"ids": ids}),
                "name": in_halves(lambda half: tf.strings.upper(half["names"]), {"ids": ids, "names": names})}

    graph = tf.function(lambda ids, names: (results(ids, names), [tf.shape(one)[0] for one in seen]),
                        [tf.TensorSpec([None, 3], tf.int32), tf.TensorSpec([None], tf.string)], autograph=False)
    ids = np.arange(3 * rows, dtype=np.int32).reshape(rows, 3)
    found, sizes = graph(ids, np.array([f"row {row}" for row in range(rows)], object))
    np.testing.assert_array_equal(found["sum"], ids.sum(axis=1))
    assert found["name"].numpy().tolist() == [b"ROW %d" % row for row in range(rows)]
    assert tuple(map(int, sizes)) == split


def test_what_all_rows_share_is_not_split_and_outside_of_a_graph_nothing_is():
    batch = {"items": tf.range(7), "rows": tf.zeros((2, 4))}
    assert halves(batch, shared=("items",)) == [batch]

    @tf.function(autograph=False)
    def sizes():
        return [[tf.shape(half[name])[0] for name in ("items", "rows")] for half in halves(batch, shared=("items",))]

    assert [[int(size) for size in half] for half in sizes()] == [[7, 1], [7, 1]]
    for rows, parts in ((0, 1), (1, 1), (2, 2)):  # a half that is known to be empty is more than Keras's layers bear
        assert int(tf.function(lambda: len(halves({"rows": tf.zeros((rows, 4))})), autograph=False)()) == parts


@pytest.mark.parametrize("before, threads", [
    ("import tensorflow", HALF), ("import tensorflow as tf; tf.constant(1)", 0)])
def test_an_operation_has_half_of_the_cores_unless_somebody_has_chosen(before, threads):
    code = (f"import os\n{before}\nfrom app.terminal import load_tensorflow\nload_tensorflow()\nimport tensorflow as tf\n"
            "print(tf.config.threading.get_intra_op_parallelism_threads())")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"%d\n" % threads


@pytest.mark.parametrize("chosen, variables, expected", [
    (0, {}, [HALF]), (3, {}, []), (0, {"TF_NUM_INTRAOP_THREADS": "3"}, [])])
def test_what_somebody_has_chosen_stays(monkeypatch, chosen, variables, expected):
    found = []
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: chosen)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", found.append)
    import_tensorflow()
    assert found == expected
