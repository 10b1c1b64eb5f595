"""Written texts and references in, how alike they are out: BLEU, chrF and ROUGE, by the field's own libraries."""

import re

CHINESE = re.compile("[\u3400-\u9fff]")


class Characters:
    """The tokens of ROUGE for Chinese: characters."""

    def tokenize(self, text):
        return [character for character in text if not character.isspace()]


def text_scores(written, references):
    """Scores of a whole set.

    Args:
        written, references: N strings each, in the same order; N at least 1.

    Returns:
        dict: "bleu" (Papineni et al. 2002) and "chrf" (Popović 2015) in [0, 100] by sacrebleu, with "bleu_signature" and
        "chrf_signature"; "rouge1", "rouge2", "rougeL" (Lin 2004), mean F1 in [0, 1] by rouge-score, stemmed. Chinese
        references count by characters.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    is_chinese = sum(bool(CHINESE.search(text)) for text in references) > len(references) / 2
    bleu, chrf = BLEU(tokenize="zh" if is_chinese else "13a"), CHRF()
    scores = {name: metric.corpus_score(written, [references]).score for name, metric in (("bleu", bleu), ("chrf", chrf))}
    kinds = ("rouge1", "rouge2", "rougeL")
    rouge = RougeScorer(kinds, tokenizer=Characters()) if is_chinese else RougeScorer(kinds, use_stemmer=True)
    found = [rouge.score(reference, text) for text, reference in zip(written, references, strict=True)]
    return {**scores, "bleu_signature": str(bleu.get_signature()), "chrf_signature": str(chrf.get_signature()),
            **{kind: sum(one[kind].fmeasure for one in found) / len(found) for kind in kinds}}
