"""The command line: `python -m app COMMAND …` or `fromzero COMMAND …`."""

import importlib
import os
import signal
import sys
import traceback

COMMANDS = {
    "demo": "the whole chain on embedded real text: corpus, pretraining, fine-tuning, evaluation, export",
    "prepare": "read text, clean and deduplicate it, train a tokenizer, write packed rows",
    "pretrain": "train an encoder (masked LM), a GPT (causal LM) or an encoder-decoder (denoising) on a corpus",
    "generate": "go on with texts, by a GPT of pretrain --objective clm",
    "seq2seq": "train an encoder-decoder on pairs of texts: translation, summaries",
    "clozes": "make questions of plain texts, for questions to learn from where people's are few",
    "questions": "train an encoder to find the answers to questions in texts",
    "recommend": "train a recommender on what people chose, with titles as text",
    "extract": "train an extractor: the sentences of a text that say most of it",
    "finetune": "train a classifier on labelled text, from a pretrained backbone or from scratch",
    "evaluate": "measure a run: accuracy and calibration, perplexity, BLEU and ROUGE, exact match, HR and NDCG",
    "predict": "classify, write, answer or recommend: from the command line, standard input or a file",
    "export": "write a SavedModel that takes raw strings",
    "serve": "answer over HTTP from exported SavedModels, by TensorFlow Serving's REST interface",
    "doctor": "say what is installed, what would go wrong, and how to mend it",
}
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def usage():
    """The text of `--help`: every command in one line."""
    lines = ["usage: fromzero COMMAND [options]      (also: python -m app COMMAND [options])", "",
             "From raw text to a served model. Commands, in the order of the work:", ""]
    lines += [f"  {name:10s} {job}" for name, job in COMMANDS.items()]
    return "\n".join([*lines, "", "fromzero COMMAND --help explains a command. Start with: fromzero demo"])


def is_users_error(error):
    """True when our own code raised `error` on purpose: its message is then the whole explanation.

    An error that comes out of a library is a bug of ours and deserves its traceback. What the operating
    system refuses (no such file, no space left) is the user's to mend wherever it surfaces.
    """
    if isinstance(error, OSError):
        return True
    if not isinstance(error, ValueError):
        return False
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    return any(innermost.startswith(os.path.join(HERE, part) + os.sep) for part in ("app", "models", "data"))


def explained(error):
    """What the error says; to the system's own words for a full disk, what a user can do."""
    if "No space left" in str(error):
        return f"the disk is full ({error}). Free some space or name another folder, and run the same command again"
    return str(error)


def main(arguments=None):
    """Runs one command; exits 2 after a user's mistake, 130 after Ctrl-C, 141 when nobody reads on."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        print(f"error: a command is one of {', '.join(COMMANDS)}. Received: {name}", file=sys.stderr)
        return 2
    import tyro

    # So that what is half-written is removed; a training takes the signal over and saves first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    function = getattr(importlib.import_module(f"app.{name}"), name)
    try:
        result = tyro.cli(function, prog=f"fromzero {name}", args=arguments[1:])
    except KeyboardInterrupt as interruption:
        print(f"\nstopped. {interruption}".rstrip(), file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python's last flush goes
        return 141
    except (ValueError, OSError) as error:
        if not is_users_error(error):
            raise
        print(f"error: {explained(error)}", file=sys.stderr)
        return 2
    return 1 if name == "doctor" and result["status"] == "fail" else 0


if __name__ == "__main__":
    sys.exit(main())
