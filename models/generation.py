"""A decoder and the beginning of a text in, what follows out: sampling and beam search. `keras.ops` alone.

A decoder has two functions, `start` of whatever it reads first and `step(state, token_ids (B,))`, both of which return
(float32 (B, V) logits of the next token, state); a state is a dict of tensors whose first axis is the batch, but for
"position", and of which those are never written again whose names begin with "memory". `models.gpt.Decoder` and
`models.seq2seq.Decoder` are such.

KerasHub's samplers (0.32) would not serve: a batch has one seed, there is no repetition penalty, and beams are compared
without a length penalty and go on after their stop token.
"""

import dataclasses

from keras import ops

NEVER = -1e9  # the logit of a token that must not come


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from its logits, in this order.

    Attributes:
        repetition_penalty: logits of tokens that came before are divided by it where positive, else multiplied (Keskar
            et al. 2019, "CTRL", section 4.1); 1 = no penalty.
        temperature: logits are divided by it; 0 = always the best token, whatever stands below.
        top_k: only the k best tokens may come; 0 = all, as are more than there are.
        top_p: only the best tokens may come, as many as it takes to reach this probability together (Holtzman et al.
            2020, section 3.1); 1 = all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self):
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 or more. Received: {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 or more. Received: {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1. Received: {self.top_p}")
        if not self.repetition_penalty > 0:
            raise ValueError(f"repetition_penalty must be above 0. Received: {self.repetition_penalty}")


@dataclasses.dataclass(frozen=True)
class Beams:
    """How the most probable text is searched.

    Attributes:
        num_beams: K, hypotheses kept; 1 = the best token each time.
        length_penalty: 0 = none; larger values favour longer texts (`beam_search`).
        no_repeat_ngram_size: no run of so many drawn tokens comes twice in a text (Paulus et al. 2018, "A deep reinforced
            model for abstractive summarization", section 2.5, of three); 0 = it may.
    """

    num_beams: int = 1
    length_penalty: float = 0.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self):
        if self.num_beams < 1:
            raise ValueError(f"num_beams must be at least 1. Received: {self.num_beams}")
        if not 0 <= self.length_penalty < float("inf"):
            raise ValueError(f"length_penalty must be 0 or more. Received: {self.length_penalty}")
        if self.no_repeat_ngram_size < 0:
            raise ValueError(f"no_repeat_ngram_size must be 0 or more. Received: {self.no_repeat_ngram_size}")


def choose(logits, present, uniform, sampling):
    """Draws one token of each row.

    Args:
        logits: float32 (B, V).
        present: bool (B, V), tokens that came before.
        uniform: float32 (B,) in [0, 1): where in the distribution the token is taken (inverse transform sampling), so
            that equal numbers give equal texts on every machine and backend.
        sampling: `Sampling`.

    Returns:
        int32 (B,).
    """
    if sampling.repetition_penalty != 1:
        penalty = sampling.repetition_penalty
        logits = ops.where(present, ops.where(logits > 0, logits / penalty, logits * penalty), logits)
    if sampling.temperature == 0:
        return ops.cast(ops.argmax(logits, axis=-1), "int32")
    vocabulary_size = logits.shape[-1]
    count = min(sampling.top_k or vocabulary_size, vocabulary_size)
    logits, ids = ops.top_k(logits / sampling.temperature, count)  # the best first
    probabilities = ops.softmax(logits)
    reached = ops.cumsum(probabilities, axis=-1)
    if sampling.top_p < 1:  # a token stays if those before it have not reached top_p; the best always does
        probabilities = ops.where(reached - probabilities < sampling.top_p, probabilities, 0.0)
        reached = ops.cumsum(probabilities, axis=-1)
    # Rounding may leave the last sum just below 1: the number is of what was really reached.
    place = ops.sum(ops.cast(reached <= uniform[:, None] * reached[:, -1:], "int32"), axis=-1, keepdims=True)
    return ops.cast(ops.take_along_axis(ids, place, axis=-1)[:, 0], "int32")


def draw(decoder, logits, state, present, finished, uniform, sampling, *, forbidden, stop_id):
    """Draws one token of each row and reads it.

    Args:
        decoder: as above; logits, state: as it returned them last.
        present: bool (B, V), tokens that came before.
        finished: bool (B,), rows that have had their stop token: they go on with it, which nobody sees.
        uniform, sampling: as for `choose`.
        forbidden: bool (V,), tokens that never come.
        stop_id: the token that ends a row.

    Returns:
        (int32 (B,) the tokens, 0 in finished rows; and for the next call logits, state, present, finished).
    """
    logits = ops.where(forbidden, -float("inf"), logits)  # at any temperature
    token_ids = ops.where(finished, stop_id, choose(logits, present, uniform, sampling))
    drawn = ops.where(finished, 0, token_ids)
    present = ops.logical_or(present, ops.cast(ops.one_hot(token_ids, logits.shape[-1]), "bool"))
    logits, state = decoder.step(state, token_ids)
    return drawn, logits, state, present, ops.logical_or(finished, token_ids == stop_id)


def sample(decoder, logits, state, present, uniform, sampling, *, forbidden, stop_id):
    """Draws token after token, all rows together, until each has its stop token or the room is full.

    Args:
        uniform: float32 (B, N), one number for each token: N are drawn at most.
        All else as for `draw`.

    Returns:
        int32 (B, N), 0 after the stop token.
    """
    batch, room = ops.shape(uniform)

    def unfinished(number, drawn, logits, state, present, finished):
        return ops.logical_and(number < room, ops.logical_not(ops.all(finished)))

    def draw_next(number, drawn, *arguments):
        column = ops.slice(uniform, (0, number), (batch, 1))[:, 0]
        token_ids, *arguments = draw(decoder, *arguments, column, sampling, forbidden=forbidden, stop_id=stop_id)
        return number + 1, ops.where(ops.arange(room) == number, token_ids[:, None], drawn), *arguments

    nothing, finished = ops.zeros((batch, room), "int32"), ops.zeros((batch,), "bool")
    return ops.while_loop(unfinished, draw_next, (0, nothing, logits, state, present, finished))[1]


def beam_search(decoder, logits, state, room, beams, *, forbidden, stop_id):
    """The most probable continuations that a beam finds.

    Scores are log-probabilities divided by ((5 + length) / 6) ** length_penalty (Wu et al. 2016, arXiv:1609.08144,
    section 7), the stop token counted in. A finished hypothesis keeps its place in the beam as long as no better one
    takes it; the search ends when all of a row's are finished.

    Args:
        decoder: as above; logits, state: of its `start`.
        room: N, tokens drawn at most.
        beams: `Beams`.
        forbidden, stop_id: as for `draw`.

    Returns:
        (int32 (B, K, N), the best first, 0 after the stop token; float32 (B, K) scores).
    """
    num_beams = beams.num_beams
    batch, vocabulary_size = logits.shape[0] or ops.shape(logits)[0], logits.shape[-1]
    rows = ops.arange(batch)[:, None] * num_beams  # (B, 1): where a row's hypotheses begin

    def expanded(tensor):
        return ops.repeat(tensor, num_beams, axis=0)

    def penalty(length):
        return ((5.0 + ops.cast(length, "float32")) / 6.0) ** beams.length_penalty

    state = {name: value if name == "position" else expanded(value) for name, value in state.items()}
    # At first all hypotheses of a row are the same one: only the first counts.
    totals = ops.tile(ops.where(ops.arange(num_beams) == 0, 0.0, NEVER)[None], (batch, 1))  # (B, K) log-probabilities
    lengths = ops.zeros((batch, num_beams), "int32")
    finished = ops.zeros((batch, num_beams), "bool")
    drawn = ops.zeros((batch, num_beams, room), "int32")
    # What a finished hypothesis may still do: nothing, at no cost. Token 0 stands for that.
    rests = ops.where(ops.arange(vocabulary_size) == 0, 0.0, NEVER)

    def unfinished(number, drawn, finished, *_):
        return ops.logical_and(number < room, ops.logical_not(ops.all(finished)))

    def extend(number, drawn, finished, totals, lengths, logits, state):
        log_probabilities = ops.log_softmax(ops.where(forbidden, NEVER, logits))
        if beams.no_repeat_ngram_size:
            log_probabilities = _without_repeats(log_probabilities, ops.reshape(drawn, (-1, room)), number,
                                                 beams.no_repeat_ngram_size)
        log_probabilities = ops.reshape(log_probabilities, (batch, num_beams, vocabulary_size))
        candidates = totals[:, :, None] + ops.where(finished[:, :, None], rests, log_probabilities)  # (B, K, V)
        longer = lengths + ops.cast(ops.logical_not(finished), "int32")
        scores = ops.reshape(candidates / penalty(longer)[:, :, None], (batch, num_beams * vocabulary_size))
        places = ops.top_k(scores, num_beams)[1]  # (B, K)
        parents, token_ids = places // vocabulary_size, ops.cast(places % vocabulary_size, "int32")
        totals = ops.take_along_axis(ops.reshape(candidates, (batch, -1)), places, axis=1)
        lengths = ops.take_along_axis(longer, parents, axis=1)
        finished = ops.logical_or(ops.take_along_axis(finished, parents, axis=1), token_ids == stop_id)
        drawn = ops.take_along_axis(drawn, parents[:, :, None], axis=1)
        drawn = ops.where(ops.arange(room) == number, token_ids[:, :, None], drawn)
        chosen = ops.reshape(rows + parents, (-1,))  # (B·K,)
        state = {name: value if name == "position" or name.startswith("memory")  # the same for all of a row's beams
                 else ops.take(value, chosen, axis=0) for name, value in state.items()}
        read = ops.reshape(ops.where(token_ids == 0, stop_id, token_ids), (-1,))
        logits, state = decoder.step(state, read)
        return number + 1, drawn, finished, totals, lengths, logits, state

    _, drawn, _, totals, lengths, *_ = ops.while_loop(
        unfinished, extend, (0, drawn, finished, totals, lengths, expanded(logits), state))
    scores = totals / penalty(lengths)
    order = ops.argsort(-scores, axis=1)
    return ops.take_along_axis(drawn, order[:, :, None], axis=1), ops.take_along_axis(scores, order, axis=1)


def _without_repeats(log_probabilities, drawn, number, size):
    """Strikes out each token that would end a run of `size` tokens that its row has already.

    Args:
        log_probabilities: float32 (R, V) of the next token.
        drawn: int32 (R, N), of which the first `number` are drawn.
        number: int.
        size: 1 or more.

    Returns:
        float32 (R, V).
    """
    count, room = drawn.shape[0] or ops.shape(drawn)[0], ops.shape(drawn)[1]
    places = ops.arange(room)
    repeats = ops.logical_and(places >= size - 1, places < number)[None]  # (1 or R, N): the token there may not come
    for distance in range(1, size):
        last = ops.take(drawn, ops.maximum(number - distance, 0), axis=1)[:, None]
        repeats = ops.logical_and(repeats, ops.roll(drawn, distance, axis=1) == last)
    # Token 0 never comes: where nothing repeats it is the one that is struck out.
    struck = ops.reshape(ops.where(repeats, drawn, 0), (-1, 1))
    rows = ops.reshape(ops.repeat(ops.arange(count), room), (-1, 1))
    return ops.scatter_update(log_probabilities, ops.concatenate([rows, struck], axis=1),
                              ops.full((count * room,), NEVER, "float32"))
