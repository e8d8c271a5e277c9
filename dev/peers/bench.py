"""Programs that `make bench` compares `rag evaluate` with, each as one process from file to figures.

    bench.py measure COMMAND…            runs a command; prints its processor seconds and peak memory as JSON
    bench.py pytrec_eval|ir_measures|ranx QRELS RUN
    bench.py numpy|scipy VALUES DRAWS    VALUES: little-endian f64, ten metrics after each other

Peers print the means of ndcg@10, map, recall@100 and mrr, or the p of a sign flip for each metric. Each is called as its
own documentation does it. Invariant: a figure is a whole process, start and imports included.
"""

import json
import resource
import subprocess
import sys


def measure(command):
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "code": ended.returncode,
        "cpu": used.ru_utime + used.ru_stime,
        "peakMib": used.ru_maxrss / 1024,
        "out": ended.stdout.decode(),
    }


def pytrec_eval(qrels, run):
    import pytrec_eval

    with open(qrels) as file:
        judgments = pytrec_eval.parse_qrel(file)
    with open(run) as file:
        answers = pytrec_eval.parse_run(file)
    names = ["ndcg_cut_10", "map", "recall_100", "recip_rank"]
    measures = {"ndcg_cut.10", "map", "recall.100", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(judgments, measures).evaluate(answers)
    return [sum(of[name] for of in found.values()) / len(found) for name in names]


def ir_measures(qrels, run):
    import ir_measures as ir

    names = [ir.nDCG @ 10, ir.AP, ir.R @ 100, ir.RR]
    found = ir.calc_aggregate(names, ir.read_trec_qrels(qrels), ir.read_trec_run(run))
    return [found[name] for name in names]


def ranx(qrels, run):
    from ranx import Qrels, Run, evaluate

    names = ["ndcg@10", "map", "recall@100", "mrr"]
    found = evaluate(Qrels.from_file(qrels, kind="trec"), Run.from_file(run, kind="trec"), names)
    return [float(found[name]) for name in names]


def samples(values):
    import numpy

    return numpy.fromfile(values, dtype="<f8").reshape(10, -1)


def with_numpy(values, draws):
    import numpy

    x = samples(values)
    random = numpy.random.default_rng(7)
    observed, reached, left = x.sum(axis=1) - 1e-12 * abs(x).sum(axis=1), numpy.zeros(10, dtype=int), int(draws)
    while left > 0:
        now = min(left, 4096)
        left -= now
        signs = random.integers(0, 2, size=(now, x.shape[1]), dtype=numpy.int8) * 2.0 - 1.0
        reached += (signs @ x.T >= observed).sum(axis=0)
    return [(1 + int(n)) / (1 + int(draws)) for n in reached]


def with_scipy(values, draws):
    import numpy
    from scipy import stats

    def one(x):
        return stats.permutation_test(
            (x,),
            lambda d, axis: numpy.sum(d, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=int(draws),
            batch=2048,
            alternative="greater",
            rng=numpy.random.default_rng(7),
        ).pvalue

    return [float(one(x)) for x in samples(values)]


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "measure":
        print(json.dumps(measure(rest)))
    else:
        peers = {
            "pytrec_eval": pytrec_eval,
            "ir_measures": ir_measures,
            "ranx": ranx,
            "numpy": with_numpy,
            "scipy": with_scipy,
        }
        print(json.dumps(peers[name](*rest)))
