"""Values of trec_eval (9.x, through pytrec-eval-terrier) for many cases in one process.

stdin: one JSON object {"measures": [...], "cases": [{"level": 1, "qrels": {query: {document: grade}},
"run": {query: {document: score}}}]}; stdout: a list with {"queries": {query: {measure: value}}, "means": {measure: mean}}
for each case. The extension module is loaded without the package around it, which would need numpy for one mean.
"""

import json
import sys

import pytrec_eval_ext


def evaluated(case, measures):
    evaluator = pytrec_eval_ext.RelevanceEvaluator(
        query_relevance=case["qrels"],
        measures=measures,
        relevance_level=case["level"],
        judged_docs_only_flag=False,
    )
    queries = evaluator.evaluate(case["run"]) if case["run"] else {}
    names = sorted({name for values in queries.values() for name in values})
    means = {name: sum(values[name] for values in queries.values()) / len(queries) for name in names}
    return {"queries": queries, "means": means}


def main():
    asked = json.load(sys.stdin)
    measures = set(asked["measures"])
    json.dump([evaluated(case, measures) for case in asked["cases"]], sys.stdout)


main()
