"""A pretrained GPT and the beginnings of texts in, texts out, shown as they are written."""

from pathlib import Path

import tyro

from app.terminal import as_tuple, check_at_least, console, decodable, load_tensorflow, warn
from app.writing import BEAMS, SAMPLING, beams, until

TITLE_CHARACTERS = 30  # room for a title


def generate(
    run: tyro.conf.Positional[Path],
    prompts: tyro.conf.Positional[tuple[str, ...]] = ("",),
    *,
    form: str | None = None,
    title: str = "",
    tokens: int = SAMPLING["tokens"],
    stop: str = "",
    count: int = 1,
    temperature: float = SAMPLING["temperature"],
    top_k: int = SAMPLING["top_k"],
    top_p: float = SAMPLING["top_p"],
    repetition_penalty: float = SAMPLING["repetition_penalty"],
    num_beams: int = 1,
    length_penalty: float = BEAMS["length_penalty"],
    no_repeat_ngram_size: int = BEAMS["no_repeat_ngram_size"],
    seed: int = 0,
) -> list[str]:
    """Go on with texts, token by token, by a model of `pretrain --objective clm`.

    A text ends where the model ends it, before --stop or after so many tokens. The same seed writes the same texts.

    Args:
        run: folder of a pretrained GPT.
        prompts: the beginnings, in quotes; none = from nothing. Of one longer than the model sees, the end counts.
        form: of a poem, such as 4x7: four lines of seven characters, by a model whose corpus was made with
            --heading-columns form title; a beginning is then the poem's first line. The poem must fit into the tokens
            that the model sees.
        title: of that poem; none = the model finds one, or none above a first line.
        tokens: how many follow at most; of a poem as many as its form needs, if those are more.
        stop: a string that ends a text and is not shown, such as "ROMEO:".
        count: texts for each beginning.
        temperature: below 1 the likely tokens become likelier; 0 = always the best one.
        top_k: only the k best tokens may come; 0 = all.
        top_p: only the best tokens may come that reach this probability together; 1 = all.
        repetition_penalty: above 1, tokens that stand there already become less likely.
        num_beams: above 1, search the most probable text among so many at a time, instead of drawing one.
        length_penalty: of that search: larger values favour longer texts.
        no_repeat_ngram_size: of that search: no run of so many tokens comes twice in what follows; 0 = it may.
        seed: of the first text; the next ones have the seeds after it.

    Returns:
        The texts, beginnings included.
    """
    check_at_least(1, tokens=tokens, count=count)
    check_at_least(0, seed=seed)
    search = beams(num_beams=num_beams, length_penalty=length_penalty, no_repeat_ngram_size=no_repeat_ngram_size)
    prompts, title = [decodable(prompt) for prompt in as_tuple(prompts)], decodable(title)
    if num_beams > 1 and count > 1:
        raise ValueError(f"the search of --num-beams finds one text for each beginning. Received: --count {count}")
    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_penalty": repetition_penalty}
    if num_beams > 1 and (stop or any(value != SAMPLING[name] for name, value in drawing.items())):
        raise ValueError("the search of --num-beams finds the most probable text and draws nothing: leave out --stop, "
                         "--temperature, --top-k, --top-p and --repetition-penalty, or --num-beams")
    if num_beams == 1 and search != {**BEAMS, "num_beams": 1}:
        raise ValueError("--length-penalty and --no-repeat-ngram-size are of the search of --num-beams, which must be above "
                         "1. Received: 1")
    if title and not form:
        raise ValueError(f"--title is a poem's, whose --form must be given, such as 4x7. Received: --title {title}")
    if form:
        from data import poems

        lines, characters = poems.read_form(form)
        room = lines * (characters + 1) + len(form) + 2  # a mark after each line; the form and the title have lines too
        tokens = max(tokens, lines * (characters + 2) + TITLE_CHARACTERS)
        prompts = [poems.beginning(form, title, prompt) for prompt in prompts]
    from app.kinds import kind_of

    kind_of(run, "causal_lm")
    load_tensorflow()
    from app.generator import load_generator
    from models.generation import Beams, Sampling

    sampling = Sampling(**drawing)
    generator = load_generator(Path(run))
    if form and room > generator.sequence_length:
        raise ValueError(f"a poem must fit into the {generator.sequence_length} tokens that the model sees. Received: --form "
                         f"{form}, which needs {room}")
    texts = []
    for number, prompt in enumerate(prompt for prompt in prompts for _ in range(count)):
        pieces = ([generator.best(prompt, tokens, Beams(**search))] if num_beams > 1 else
                  until(generator.stream(prompt, tokens, sampling, seed + number), stop))
        written = []
        for piece in pieces:
            console.out(piece, end="", highlight=False)
            console.file.flush()
            written.append(piece)
        console.print()
        texts.append("".join(written))
        if form and not poems.has_form(poems.body(texts[-1]), form):
            warn(f"this poem is not {form}")
    return texts
