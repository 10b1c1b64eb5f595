"""Written texts and references in, how alike they are out: BLEU, chrF and ROUGE, by the field's own libraries."""

import functools
import re

from app.extractor import lead, load_extractor
from app.terminal import console, progress_bar, show_report
from app.writer import load_writer
from app.writing import BEAMS
from data.pairs import read_pairs
from data.sources import SkippedRows
from models.generation import Beams
from models.run_folder import write_json

SHOWN_EXAMPLES = 20  # the first ones
SHOWN_CHARACTERS = 500
# What stands beside an extractor.
BESIDE = {"lead1": "the first sentence", "lead3": "the first three", "oracle": "a search that knows the target"}
CHINESE = re.compile("[\u3400-\u9fff]")
# Thai and Lao, Tibetan, Myanmar, Khmer, Japanese: written without spaces, as Chinese is.
UNSPACED = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


class Tokens:
    """What ROUGE counts, instead of rouge-score's own letters a to z: lower-cased words, or characters."""

    def __init__(self, pattern):
        self.pattern = re.compile(pattern)

    def tokenize(self, text):
        return self.pattern.findall(text.lower())


def evaluate_writer(run, identity, json_path, max_skipped):
    """What `app.evaluate.evaluate` does with a run of seq2seq: writes, measures, writes the JSON, shows it.

    Args:
        run: its folder.
        identity: dict with "data", "text_column", "target_column" and the settings of `BEAMS`, as `evaluate` takes them.
        json_path: the file to write.
        max_skipped: as `evaluate` takes it.

    Returns:
        What the JSON file holds: the run, `identity`, what `text_scores` returns and the first examples.
    """
    beams = Beams(**{name: identity[name] for name in BEAMS})
    return _evaluate(run, identity, json_path, max_skipped, functools.partial(load_writer(run).write, beams=beams))


def evaluate_extractor(run, identity, json_path, max_skipped):
    """The same with a run of extract, without a search.

    Returns:
        Also "beside", what `rouge` says of others: "lead1" and "lead3", the first sentences, and "oracle", what
        `app.extractor.Extractor.best` finds.
    """
    extractor = load_extractor(run)

    def beside(texts, references):
        others = {"lead1": lead(texts, 1), "lead3": lead(texts, 3), "oracle": extractor.best(texts, references)}
        return {"beside": {name: rouge(written, references) for name, written in others.items()}}

    return _evaluate(run, identity, json_path, max_skipped, extractor.write, beside)


def _evaluate(run, identity, json_path, max_skipped, write, further=lambda texts, references: {}):
    """write: N strings, progress → N strings; further: texts, references → dict of more to tell."""
    skipped = SkippedRows(max_skipped)
    texts, references = read_pairs(identity["data"], skipped, text_column=identity["text_column"],
                                   target_column=identity["target_column"])
    with progress_bar("write", len(texts), "texts") as advance:
        written = write(texts, progress=advance)
    examples = [{name: text[:SHOWN_CHARACTERS] for name, text in zip(("text", "target", "written"), example)}
                for example in list(zip(texts, references, written))[:SHOWN_EXAMPLES]]
    evaluation = {"run": str(run), **identity, "n_examples": len(texts), "skipped": dict(skipped.counts),
                  **text_scores(written, references), **further(texts, references), "examples": examples}
    write_json(json_path, evaluation)
    console.print("{n_examples:,} texts: BLEU {bleu:.2f}, chrF {chrf:.2f}, ROUGE-1 {rouge1:.3f}, ROUGE-2 {rouge2:.3f}, "
                  "ROUGE-L {rougeL:.3f}\n{bleu_signature}\n{chrf_signature}".format(**evaluation), markup=False)
    for name, scores in evaluation.get("beside", {}).items():
        console.print(f"{BESIDE[name]}: ROUGE-1 {scores['rouge1']:.3f}, ROUGE-2 {scores['rouge2']:.3f}, "
                      f"ROUGE-L {scores['rougeL']:.3f}")
    show_report(skipped, json_path)
    return evaluation


def text_scores(written, references):
    """Scores of a whole set.

    Args:
        written, references: N strings each, in the same order; N at least 1.

    Returns:
        dict: "bleu" (Papineni et al. 2002) and "chrf" (Popović 2015) in [0, 100] by sacrebleu, with "bleu_signature" and
        "chrf_signature"; and what `rouge` returns. References in a script without spaces count by characters.
    """
    from sacrebleu.metrics import BLEU, CHRF

    bleu = BLEU(tokenize="zh" if _mostly(CHINESE, references) else "char" if _mostly(UNSPACED, references) else "13a")
    scores = {}
    for name, metric in (("bleu", bleu), ("chrf", CHRF())):
        scores[name] = metric.corpus_score(written, [references]).score
        scores[f"{name}_signature"] = str(metric.get_signature())
    return {**scores, **rouge(written, references)}


def rouge(written, references):
    """dict: "rouge1", "rouge2", "rougeL" (Lin 2004) of a whole set: mean F1 in [0, 1] by rouge-score, stemmed where all
    references are ASCII."""
    from rouge_score.rouge_scorer import RougeScorer

    kinds = ("rouge1", "rouge2", "rougeL")
    if all(text.isascii() for text in references):
        scorer = RougeScorer(kinds, use_stemmer=True)
    else:
        scorer = RougeScorer(kinds, tokenizer=Tokens(r"\S" if _mostly(UNSPACED, references) else r"\w+"))
    found = [scorer.score(reference, text) for text, reference in zip(written, references, strict=True)]
    return {kind: sum(one[kind].fmeasure for one in found) / len(found) for kind in kinds}


def _mostly(script, texts):
    return sum(bool(script.search(text)) for text in texts) > len(texts) / 2
