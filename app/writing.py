"""How texts are written unless somebody says otherwise: the same by every command."""

from app.terminal import check_at_least

# By a GPT, which draws: `models.generation.Sampling`, and how many tokens follow at most.
SAMPLING = {"tokens": 100, "temperature": 0.8, "top_k": 0, "top_p": 0.95, "repetition_penalty": 1.0}
# By an encoder–decoder, which searches: `models.generation.Beams`.
BEAMS = {"num_beams": 5, "length_penalty": 1.0, "no_repeat_ngram_size": 0}


def until(pieces, stop):
    """A text piece by piece, up to a string that may begin in one piece and end in another.

    Args:
        pieces: strings; the first one, the beginning that was given, is not looked at.
        stop: "" = none.

    Yields:
        The pieces; what may be the beginning of `stop` comes with a later one.
    """
    pieces = iter(pieces)
    yield next(pieces)
    held = ""
    for piece in pieces:
        before, found, _ = (held + piece).partition(stop) if stop else (piece, "", "")
        if found:
            yield before
            return
        kept = next((length for length in range(len(stop) - 1, 0, -1) if before.endswith(stop[:length])), 0)
        held = before[len(before) - kept :]
        yield before[: len(before) - kept]
    yield held


def beams(**given):
    """The settings of a search, those of `BEAMS` for None; raises ValueError for impossible ones."""
    settings = {**BEAMS, **{name: value for name, value in given.items() if value is not None}}
    check_at_least(1, num_beams=settings["num_beams"])
    check_at_least(0, length_penalty=settings["length_penalty"], no_repeat_ngram_size=settings["no_repeat_ngram_size"])
    return settings
