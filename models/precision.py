"""The precision a model computes in: weights and what is saved are float32 always, the products may be shorter."""

import contextlib

import keras


@contextlib.contextmanager
def computing_in(precision):
    """Models built inside compute in a precision; those built before and after do not change.

    Only where rounding does no harm: the weights, the statistics of norms, the logits and the loss stay float32.

    Args:
        precision: "float32", "bfloat16" or "float16".
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
