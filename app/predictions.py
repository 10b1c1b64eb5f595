"""Chunks of texts in, what a run says of each out: as a dict, as a line for people, as cells of a table."""

from data.interactions import read_interactions
from data.questions import CONTEXT_COLUMNS, QUESTION_COLUMNS
from data.sources import PAIR_COLUMNS, TEXT_COLUMNS, clean_text  # as evaluation and training read their texts

USERS = 256  # of a file, recommended to at a time


class Labels:
    """What a classifier says."""

    reads_histories = False
    inputs = (TEXT_COLUMNS, "text"), (PAIR_COLUMNS, "second text")  # names of columns and what they hold

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

    inputs = ((TEXT_COLUMNS, "text"),)
    takes_pairs = reads_histories = False
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


class Answers:
    """What is found in texts as the answer to questions."""

    inputs = (QUESTION_COLUMNS, "question"), (CONTEXT_COLUMNS, "text")
    takes_pairs, reads_histories = True, False
    columns = ["answer_predicted", "score"]

    def __init__(self, answerer):
        self.answerer = answerer

    def results(self, chunk):
        """One dictionary for each (question, text) of the chunk; the answer is None where one of them is empty, and ""
        where the text does not hold one."""
        asked = [(clean_text(question), context) for question, context in chunk]
        complete = [bool(question and clean_text(context)) for question, context in asked]
        filled = [pair for pair, is_complete in zip(asked, complete) if is_complete]
        found = iter(self.answerer.answer(*map(list, zip(*filled))) if filled else [])
        for (question, context), is_complete in zip(chunk, complete, strict=True):
            answer, score = next(found) if is_complete else (None, None)
            yield {"question": question, "context": context, "answer": answer, "score": score}

    def line(self, result):
        """The answer, its probability and the question, separated by tabs."""
        score = "" if result["score"] is None else f"{result['score']:.4f}"
        answer, question = (" ".join((text or "").split()) for text in (result["answer"], result["question"]))
        return f"{answer}\t{score}\t{question}"

    def cells(self, result):
        """The values of `columns`."""
        return result["answer"], result["score"]


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
