"""One file a command; the only place where data/ and models/ meet."""

import os

# Before anything imports TensorFlow: its start-up notes are of no use to somebody who trains a model.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
