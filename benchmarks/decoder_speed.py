"""Tokens a second of a GPT that writes, of its training and of an encoder–decoder's, beside transformers on PyTorch.

    python -m benchmarks.decoder_speed

Both sides have 4 layers × 256 (encoder and decoder each), 4 heads, vocabulary 8192, random weights and random token ids,
train by AdamW with clipped gradients, without dropout, and take turns. Writing: 112 tokens after 16, the best one each
time, keys and values kept; no text ends early. Training: rows of 128 full of text, 32 of them; pairs of 64 and 64 tokens,
32 of them.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from app.terminal import load_tensorflow
from benchmarks import peers

BATCH_SIZE, LENGTH, PAIR_LENGTH, VOCABULARY_SIZE = 32, 128, 64, 8192
PROMPT, WRITTEN = 16, 112
QUESTIONS = {"write_1": "writing, one text", "write_16": "writing, 16 texts at once", "gpt": "training a GPT",
             "seq2seq": "training an encoder–decoder"}


class Ours:
    """Our side: `ask({"what": a key of QUESTIONS, "seconds": s})`."""

    def __init__(self):
        import keras
        import tensorflow as tf

        from app.objectives import build_trainer
        from data.causal import next_tokens
        from data.tokenizer import CLS, SEP, SPECIAL_TOKENS
        from models import gpt
        from models.config import transformer_config
        from models.generation import Sampling, sample
        from models.halves import in_halves
        from models.trainer import Budget, Trainer

        config = transformer_config("mini", vocabulary_size=VOCABULARY_SIZE, sequence_length=LENGTH)
        random, first = np.random.default_rng(0), len(SPECIAL_TOKENS)

        def ids(*shape):
            return random.integers(first, VOCABULARY_SIZE, shape, dtype=np.int32)

        def trainer(objective):
            model = build_trainer(config, 1e-3, 0, objective=objective)[1].model
            return Trainer(model, keras.optimizers.AdamW(weight_decay=0.01, beta_2=0.98), 1e-3)

        rows = ids(BATCH_SIZE, LENGTH)
        rows[:, 0] = CLS
        sources, targets = ids(BATCH_SIZE, PAIR_LENGTH), ids(BATCH_SIZE, PAIR_LENGTH + 1)
        ones = np.ones((BATCH_SIZE, PAIR_LENGTH), np.int32)
        pairs = {"token_ids": sources, "segment_ids": ones, "target_ids": targets[:, :-1], "target_segment_ids": ones,
                 "labels": targets[:, 1:], "sample_weight": np.float32(ones)}
        self.batches = {"gpt": next_tokens(tf.constant(rows)), "seq2seq": pairs}
        self.tokens = {"gpt": BATCH_SIZE * LENGTH, "seq2seq": 2 * BATCH_SIZE * PAIR_LENGTH}
        self.trainers = {"gpt": trainer("clm"), "seq2seq": trainer("denoise")}
        self.budget = Budget(steps=1_000_000)
        decoder = gpt.Decoder(self.trainers["gpt"].model, LENGTH)
        never = np.arange(VOCABULARY_SIZE) < first  # the end of a text too: none ends early

        @tf.function(input_signature=[tf.TensorSpec([None, PROMPT], tf.int32)], autograph=False)
        def write(prompts):
            return in_halves(lambda half: continuation(half["prompts"]), {"prompts": prompts})

        def continuation(prompts):
            logits, state = decoder.start(prompts, WRITTEN)
            return sample(decoder, logits, state, tf.zeros((tf.shape(prompts)[0], VOCABULARY_SIZE), tf.bool),
                          tf.zeros((tf.shape(prompts)[0], WRITTEN)), Sampling(temperature=0), forbidden=never, stop_id=SEP)

        self.write, self.prompts = write, {1: ids(1, PROMPT), 16: ids(16, PROMPT)}

    def ask(self, question):
        """{"tokens", "seconds"}: written, or trained on."""
        what, wanted = question["what"], question["seconds"]
        kind, _, texts = what.partition("_")
        if kind == "write":
            started, tokens = time.perf_counter(), 0
            while time.perf_counter() - started < wanted:
                tokens += int(np.count_nonzero(self.write(self.prompts[int(texts)])))
            return {"tokens": tokens, "seconds": time.perf_counter() - started}
        trainer = self.trainers[kind]
        before, steps = trainer.seconds, trainer.step
        trainer.run(iter(lambda: self.batches[kind], None), self.budget,
                    lambda loss, gradient_norm: trainer.seconds - before < wanted)
        return {"tokens": (trainer.step - steps) * self.tokens[kind], "seconds": trainer.seconds - before}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="a side, question and round")
    parser.add_argument("--to", type=Path, default=peers.RESULTS / "decoder_speed.json", help="where the figures go")
    arguments = parser.parse_args()
    load_tensorflow()
    results = {"machine": peers.machine(), "rounds": arguments.rounds, "answers": {}}
    with peers.Side("decoder_speed_peer") as peer:
        sides = {"ours": Ours(), "transformers": peer}
        for what in QUESTIONS:
            peers.take_turns(sides, {"what": what, "seconds": 1.0}, 1)  # traces
            results["answers"][what] = peers.take_turns(sides, {"what": what, "seconds": arguments.seconds},
                                                        arguments.rounds)
            print(f"{QUESTIONS[what]}: measured", flush=True)
    peers.save(arguments.to, results, table(results))


def speeds(answers):
    """Median of the rounds' tokens a second, of each side."""
    return {side: float(np.median([answer["tokens"] / answer["seconds"] for answer in rounds]))
            for side, rounds in answers.items()}


def ratio(answers):
    """Median over the rounds of our tokens a second by the peer's."""
    return float(np.median([ours["tokens"] / ours["seconds"] / theirs["tokens"] * theirs["seconds"]
                            for ours, theirs in zip(answers["ours"], answers["transformers"])]))


def table(results):
    """The figures as Markdown."""
    lines = ["| tokens/s | fromzero | transformers | ratio |", "|---|---|---|---|"]
    for what, answers in results["answers"].items():
        of = speeds(answers)
        lines.append(f"| {QUESTIONS[what]} | {of['ours']:,.0f} | {of['transformers']:,.0f} | × {ratio(answers):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
