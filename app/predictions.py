"""Chunks of texts in, what a run says of each out: as a dict, as a line for people, as cells of a table."""

from data.interactions import read_interactions
from data.sources import clean_text  # as evaluation and training read their texts

USERS = 256  # of a file, recommended to at a time


class Labels:
    """What a classifier says."""

    reads_histories = False

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
    """What an encoder–decoder writes."""

    takes_pairs = reads_histories = False
    columns = ["text_written"]

    def __init__(self, writer, num_beams, length_penalty):
        self.writer, self.num_beams, self.length_penalty = writer, num_beams, length_penalty

    def results(self, chunk):
        """One dictionary for each (text, None) of the chunk; what is written is None where the text is empty."""
        cleaned = [clean_text(text) for text, _ in chunk]
        written = iter(self.writer.write([text for text in cleaned if text], self.num_beams, self.length_penalty))
        for (text, _), text_read in zip(chunk, cleaned, strict=True):
            yield {"text": text, "written": next(written) if text_read else None}

    def line(self, result):
        """What is written, on one line."""
        return " ".join((result["written"] or "").split())

    def cells(self, result):
        """The value of `columns`."""
        return (result["written"],)


class Recommendations:
    """What a recommender recommends: a chunk is one history, a file's rows are those of its users."""

    takes_pairs, reads_histories = False, True

    def __init__(self, recommender, options):
        self.recommender, self.columns = recommender, options["columns"]

    def results(self, chunk):
        """One dictionary for each recommended title, the best first; (text, None) of the chunk are titles in order."""
        for title, score in self.recommender.best([[text for text, _ in chunk]])[0]:
            yield {"title": title, "score": score}

    def line(self, result):
        """The probability that the title comes next, and the title."""
        return f"{result['score']:.4f}\t{' '.join(result['title'].split())}"

    def rows(self, data, skipped, counts, advance):
        """Yields ten rows for each user of a source, the best first: user, place from 1, item, title, score.

        Adds to counts["rows"] on the way.
        """
        interactions = read_interactions([data], skipped, columns={**self.columns, "title": None, "genres": None})
        catalogue = self.recommender.catalogue.extended(interactions)
        title_of = dict(zip(catalogue.items, catalogue.titles))
        item_of = dict(zip(reversed(catalogue.titles), reversed(catalogue.items)))  # of one title the first
        histories = [[title_of[item] for item in history] for history in interactions.histories]
        for start in range(0, len(histories), USERS):
            users = interactions.users[start : start + USERS]
            for user, best in zip(users, self.recommender.best(histories[start : start + USERS]), strict=True):
                for place, (title, score) in enumerate(best, 1):
                    counts["rows"] += 1
                    yield {"user": user, "place": place, "item": item_of[title], "title": title, "score": score}
            advance(len(users))
