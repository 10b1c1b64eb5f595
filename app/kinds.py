"""What kind of run a folder holds, in the user's words: for commands that take more than one kind."""

from models.run_folder import load_config

# Of each kind of run folder: its name, and what is done with it.
NAMES = {
    "masked_lm": ("a pretrained encoder", "finetune makes a classifier of it, questions an answerer"),
    "causal_lm": ("a GPT", "generate goes on with texts, evaluate and export take it"),
    "denoiser": ("a pretrained encoder–decoder", "seq2seq goes on from it"),
    "classifier": ("a classifier", "evaluate, predict and export take it"),
    "seq2seq": ("an encoder–decoder of seq2seq", "evaluate, predict and export take it"),
    "span": ("an answerer of questions", "evaluate, predict and export take it, questions goes on from it"),
    "recommender": ("a recommender", "evaluate, predict and export take it"),
    "extractor": ("an extractor", "evaluate, predict and export take it"),
}


def kind_of(run, *kinds, **options):
    """The kind of a finished run.

    Args:
        run: its folder.
        kinds: those that the command takes.
        options: {name: (value, kind, …)}: options that belong to these kinds alone; None or False where not given.

    Raises:
        FileNotFoundError, ValueError: as `load_config`; another kind; an option of another kind.
    """
    kind = load_config(run, *NAMES)["kind"]
    name, use = NAMES[kind]
    if kind not in kinds:
        raise ValueError(f"a run to take here is {' or '.join(NAMES[kind][0] for kind in kinds)}. "
                         f"Received: {run}, {name}: {use}")
    for option, (value, *owners) in options.items():
        if value is not None and value is not False and kind not in owners:
            raise ValueError(f"--{option.replace('_', '-')} is for {' or '.join(NAMES[owner][0] for owner in owners)}. "
                             f"Received: {run}, {name}; leave it out")
    return kind
