"""Latency and texts a second of `serve` beside transformers' pipeline and ONNX Runtime, and what it does under load.

    python -m benchmarks.serving --data FOLDER

All sides have the same BERT, 4 layers × 256, vocabulary 8192, fine-tuned here, and answer film reviews cut to so many
tokens. Ours is asked over HTTP by clients in this process, which share the cores with the server; the peers are called
inside their own process, tokenizing included, at full load in batches of the size that suits them best. They take
turns. Beside them stands our own encoder of that size. Then `serve` alone: at half of its full load, at twice that, and
at full load for --minutes.
"""

import argparse
import collections
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from app.terminal import load_tensorflow
from benchmarks import peers, serving_models
from benchmarks.serving_load import Clients, latencies, served, watched

# Ours: the model, and how many texts a request has.
OURS = {"ours": ("bert", 1), "ours_32": ("bert", 32), "encoder": ("encoder", 1), "encoder_32": ("encoder", 32)}
PEERS = ("fp32", "int8", "transformers")
NAMES = {"ours": "fromzero", "ours_32": "fromzero, 32 texts a request", "encoder": "fromzero's own encoder",
         "encoder_32": "fromzero's own encoder, 32 texts a request", "transformers": "transformers",
         "fp32": "ONNX Runtime", "int8": "ONNX Runtime int8"}
CLIENTS = {1: 64, 32: 4}  # at full load, by the texts of a request
LONG = "64"  # tokens of a text in the minutes of full load
TOLERANCE = 1e-4  # of a probability


class Ours:
    """Our side: clients of a server, of one of its models."""

    def __init__(self, address, texts, model, each):
        self.clients = {length: Clients(address, model, some, each) for length, some in texts.items()}

    def ask(self, question):
        """Texts of a length, one after another or at full load; as `serving_peer.measure` answers."""
        clients = self.clients[question["length"]]
        busy, started = time.process_time(), time.perf_counter()
        answers = clients.without_pause(1 if question["what"] == "one" else CLIENTS[clients.each], question["seconds"])
        good = [answer.seconds for answer in answers if answer.status == 200]
        return {"texts": clients.each * len(good), "failed": len(answers) - len(good), "latencies": latencies(good),
                "seconds": time.perf_counter() - started, "client_seconds": time.process_time() - busy}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="a side, question and round")
    parser.add_argument("--load-seconds", type=float, default=60, help="at half and at twice the load, each")
    parser.add_argument("--minutes", type=float, default=10, help="of full load without a pause")
    parser.add_argument("--work", type=Path, default=Path("runs/serving"),
                        help="the models; made where it is missing: remove it when --data or the recipe has changed")
    parser.add_argument("--to", type=Path, default=peers.RESULTS / "serving.json", help="where the figures go")
    arguments = parser.parse_args()
    work = arguments.work.absolute()
    if not work.exists():
        load_tensorflow()
        from models.run_folder import whole

        with whole(work) as unfinished:
            serving_models.make(arguments.data, unfinished)
            peers.run("serving_peer", "export", unfinished)
    asked = json.loads((work / "texts.json").read_text(encoding="utf-8"))
    texts = asked["texts"]
    results = {"machine": peers.machine(), "rounds": arguments.rounds, "differences": {}, "lengths": {}, "load": {}}
    with ExitStack() as stack:
        address, process = stack.enter_context(served([work / "export" / name for name in ("bert", "encoder")]))
        sides = {name: Ours(address, texts, *of) for name, of in OURS.items()}
        for name in PEERS:
            sides[name] = stack.enter_context(peers.Side("serving_peer", name, work))
            results["differences"][name] = difference(name, sides[name], asked["probabilities"])
        for length in texts:
            results["lengths"][length] = beside(sides, length, arguments.seconds, arguments.rounds)
            print(f"{length} tokens beside the others: measured", flush=True)
        for length in texts:
            capacity = speed(results["lengths"][length]["full"]["ours"])
            results["load"][length] = {times: at_rate(sides["ours"].clients[length], float(times) * capacity,
                                                      arguments.load_seconds) for times in ("0.5", "2")}
            print(f"{length} tokens at half and at twice the load: measured", flush=True)
        results["long"] = without_pause(sides["ours"].clients[LONG], process, arguments.minutes)
    peers.save(arguments.to, results, table(results))


def difference(name, side, probabilities):
    """{"largest": difference of a peer's probability from ours, "labels": share of texts that it labels differently}.

    Raises:
        ValueError: a peer that computes with as many digits as ours has another model.
    """
    theirs = np.concatenate([side.ask({"what": "probabilities", "length": length}) for length in probabilities])
    ours = np.concatenate([*probabilities.values()])
    found = {"largest": float(np.abs(theirs - ours).max()),
             "labels": float(np.mean(theirs.argmax(1) != ours.argmax(1)))}
    if name != "int8" and not found["largest"] <= TOLERANCE:
        raise ValueError(f"all sides must have the same model, probabilities equal to {TOLERANCE}. "
                         f"Received: {NAMES[name]}, which differs by {found['largest']}")
    return found


def beside(sides, length, seconds, rounds):
    """{"one" after another, or at "full" load: {side: its answers, one a round}} for texts of a length."""
    answers = {}
    for what in ("one", "full"):
        asked = {name: side for name, side in sides.items() if what == "full" or not name.endswith("_32")}
        question = {"what": what, "length": length}
        peers.take_turns(asked, {**question, "seconds": 1.0}, 1)  # warms up
        answers[what] = peers.take_turns(asked, {**question, "seconds": seconds}, rounds)
    return answers


def at_rate(clients, rate, seconds):
    """What becomes of so many requests a second: {"rate", "seconds", "answers": {status: {"count", "latencies"}}}."""
    started = time.perf_counter()
    answers = clients.at_rate(rate, seconds)
    by_status = {}
    for answer in answers:
        by_status.setdefault(str(answer.status), []).append(answer.seconds)
    by_status = {status: {"count": len(some), "latencies": latencies(some)} for status, some in by_status.items()}
    return {"rate": rate, "seconds": time.perf_counter() - started, "answers": by_status}


def without_pause(clients, process, minutes):
    """Full load for so long: {"minutes", "answers": {status: how many}, "memory": bytes of the process each second}."""
    with watched(psutil.Process(process.pid)) as memory:
        statuses = [str(answer.status) for answer in clients.without_pause(CLIENTS[clients.each], 60 * minutes)]
    return {"minutes": minutes, "answers": dict(collections.Counter(statuses)), "memory": memory}


def speed(answers):
    """Median of the rounds' texts a second."""
    return float(np.median([answer["texts"] / answer["seconds"] for answer in answers]))


def ratio(answers, side, peer="fp32"):
    """Median over the rounds of a side's texts a second by a peer's: what slows one round slows both."""
    return float(np.median([speed([one]) / speed([other]) for one, other in zip(answers[side], answers[peer])]))


def milliseconds(answers):
    """Medians over the rounds of what half and what 99 % of the texts took, as "half (most)"."""
    half, most = 1000 * np.median([answer["latencies"] for answer in answers], axis=0)
    return f"{half:.1f} ({most:.1f})"


def spread(load):
    """At half of full load: how many times as long as half of the requests 99 % of them take at most."""
    half, most = load["0.5"]["answers"]["200"]["latencies"]
    return most / half


def kept(load, full):
    """At twice the load: good answers a second by those of full load."""
    return load["2"]["answers"]["200"]["count"] / load["2"]["seconds"] / speed(full)


def refused(load):
    """At twice the load: (share of the requests that get 503, milliseconds within which 99 % of those have it)."""
    answers = load["2"]["answers"]
    found = answers.get("503", {"count": 0, "latencies": [None, 0.0]})
    return found["count"] / sum(answer["count"] for answer in answers.values()), 1000 * found["latencies"][1]


def failed(results):
    """In all measurements but that at twice the load: requests without a good answer."""
    rounds = (answer for length in results["lengths"].values() for what in length.values() for side in OURS
              for answer in what.get(side, []))
    others = (load["0.5"]["answers"] for load in results["load"].values())
    return (sum(answer["failed"] for answer in rounds)
            + sum(answer["count"] for answers in others for status, answer in answers.items() if status != "200")
            + sum(count for status, count in results["long"]["answers"].items() if status != "200"))


def growth(long):
    """Of the memory from the end of the first minute of ten, or tenth of the time, to the most after it."""
    start = len(long["memory"]) // 10
    return max(long["memory"][start:]) / long["memory"][start] - 1


def clients_share(answers):
    """Share of all cores that our clients took while they asked."""
    return sum(one["client_seconds"] for one in answers) / sum(one["seconds"] for one in answers) / os.cpu_count()


def table(results):
    """The figures as Markdown."""
    lengths, load, long = results["lengths"], results["load"], results["long"]

    def rows(title, cells):
        yield f"| {title} | {' | '.join(f'{length} tokens' for length in lengths)} |"
        yield "|" + "---|" * (1 + len(lengths))
        for name, cell in cells.items():
            yield f"| {name} | {' | '.join(map(cell, lengths))} |"

    def throughput(side):
        return lambda length: "{:,.0f} (× {:.2f})".format(speed(lengths[length]["full"][side]),
                                                          ratio(lengths[length]["full"], side))

    lines = [*rows("full load: texts/s (by ONNX Runtime's)", {NAMES[side]: throughput(side) for side in NAMES}), "",
             *rows("one text after another, ms: half of them (99 %) take at most", {
                 NAMES[side]: lambda length, side=side: milliseconds(lengths[length]["one"][side])
                 for side in NAMES if not side.endswith("_32")}), "",
             *rows("requests of one text", {
                 "half of full load: 99 % take at most, by half of them": lambda length: f"{spread(load[length]):.2f}",
                 "twice the load: good answers/s by those of full load":
                     lambda length: f"{kept(load[length], lengths[length]['full']['ours']):.1%}",
                 "twice the load: 503, and 99 % of those within":
                     lambda length: "{:.1%}, {:.0f} ms".format(*refused(load[length])),
                 "share of the cores that the clients take at full load":
                     lambda length: f"{clients_share(lengths[length]['full']['ours']):.1%}"}), "",
             f"{long['minutes']:g} minutes of full load, {LONG} tokens: {sum(long['answers'].values()):,} requests, "
             f"memory {max(long['memory']) / 2**20:,.0f} MiB, after the first tenth of the time {growth(long):+.1%}. "
             f"Requests that failed, in all of this: {failed(results)}.",
             "Other labels than ours: " + ", ".join(f"{NAMES[name]} {found['labels']:.2%}"
                                                    for name, found in results["differences"].items())
             + " of the texts."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
