"""What `serve` may be told, with its defaults: how requests are put together and what one may be."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Batching:
    """How requests are put together.

    Attributes:
        max_batch_size: rows that a model answers at once; a larger request is answered in parts.
        wait_ms: milliseconds that the first of a batch waits for company while the model is free, if the batch before had
            some: a client that is alone waits for nobody.
        max_queue: rows that may wait; while so many do, further requests are refused.
        threads: how many batches a model answers at a time, each on cores of its own (`app.terminal.import_tensorflow`).
    """

    max_batch_size: int = 32
    wait_ms: float = 2.0
    max_queue: int = 512
    threads: int = 2


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may be.

    Attributes:
        max_body_bytes: of a body.
        max_texts: strings of one input, or its rows.
        max_text_length: characters of a string, or bytes where it comes as base64.
        timeout: seconds from the last byte of a request to its answer.
        body_timeout: seconds for a body to arrive.
    """

    max_body_bytes: int = 4 * 2**20
    max_texts: int = 1024
    max_text_length: int = 100_000
    timeout: float = 30.0
    body_timeout: float = 10.0
