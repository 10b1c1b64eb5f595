"""Chunks of texts in, what a run says of each out: as a dict, as a line for people, as cells of a table."""

from data.sources import clean_text  # as evaluation and training read their texts


class Labels:
    """What a classifier says."""

    def __init__(self, classifier):
        self.classifier = classifier
        self.takes_pairs = classifier.takes_pairs
        self.columns = ["label_predicted", "score", *(f"probability_{label}" for label in classifier.label_names)]

    def results(self, chunk):
        """One dictionary for each (text, pair) of the chunk; label and score are None where the text is empty."""
        cleaned = [(clean_text(text), pair and clean_text(pair)) for text, pair in chunk]
        filled = [(text, pair) for text, pair in cleaned if text]
        probabilities = iter(self.classifier.probabilities(
            [text for text, _ in filled], [pair for _, pair in filled] if self.takes_pairs else None))
        for (text, pair), (text_read, _) in zip(chunk, cleaned, strict=True):
            result = {"text": text, "label": None, "score": None, "probabilities": {}}
            if text_read:
                row = next(probabilities)
                best = int(row.argmax())
                result |= {"label": self.classifier.label_names[best], "score": float(row[best]),
                           "probabilities": dict(zip(self.classifier.label_names, map(float, row), strict=True))}
            yield result if pair is None else {**result, "pair": pair}

    def line(self, result):
        """Label, its probability, every probability and the text, separated by tabs."""
        text = " ".join(f"{result['text']} {result.get('pair', '')}".split())
        if result["label"] is None:
            return f"\t\t\t{text}"
        ordered = sorted(result["probabilities"].items(), key=lambda entry: -entry[1])
        every = " ".join(f"{label}={probability:.4f}" for label, probability in ordered)
        return f"{result['label']}\t{result['score']:.4f}\t{every}\t{text}"

    def cells(self, result):
        """The values of `columns`."""
        probabilities = (result["probabilities"].get(label) for label in self.classifier.label_names)
        return result["label"], result["score"], *probabilities


class Texts:
    """What an encoder–decoder or an extractor writes."""

    takes_pairs = False
    columns = ["text_written"]

    def __init__(self, write):
        self.write = write  # list of strings → list of strings

    def results(self, chunk):
        """One dictionary for each (text, None) of the chunk; what is written is None where the text is empty."""
        cleaned = [clean_text(text) for text, _ in chunk]
        written = iter(self.write([text for text in cleaned if text]))
        for (text, _), text_read in zip(chunk, cleaned, strict=True):
            yield {"text": text, "written": next(written) if text_read else None}

    def line(self, result):
        """What is written, on one line."""
        return " ".join((result["written"] or "").split())

    def cells(self, result):
        """The value of `columns`."""
        return (result["written"],)
