//! A data set for tests: five domains of 60 queries, of which one breaks while the whole looks better.
//!
//! Every query has 20 relevant documents and metric `P@20`, so a difference is a multiple of .05: mean +.05 in four
//! domains and -.12 in `legal`, standard deviation .25 in each.

use super::dataset::{Dataset, Files};
use super::run::{Hit, Run};

/// Domain of a query, in the order of ids.
const DOMAINS: [&str; 5] = ["finance", "health", "legal", "sports", "tax"];
/// Documents that the candidate finds more than the baseline's ten, five queries in turn.
const BETTER: [i32; 5] = [-5, -3, 0, 4, 9];
const WORSE: [i32; 5] = [-9, -6, -3, 1, 5];

/// Queries and judgments. Each two neighbours share a `source`.
pub(crate) fn dataset() -> Dataset {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::config_map(dir.path());
    let (mut queries, mut qrels) = (String::new(), "query-id\tcorpus-id\tscore\n".to_owned());
    for (i, domain) in domains() {
        queries.push_str(&format!(
            "{{\"_id\":\"q{i:03}\",\"text\":\"t\",\"metadata\":{{\"domain\":\"{domain}\",\"source\":{}}}}}\n",
            i / 2
        ));
        (0..20).for_each(|r| qrels.push_str(&format!("q{i:03}\tr{r:02}\t1\n")));
    }
    std::fs::write(files.queries.as_ref().unwrap(), queries).unwrap();
    std::fs::write(&files.qrels, qrels).unwrap();
    Dataset::read(&files).unwrap()
}

/// What the baseline answers: ten relevant documents.
pub(crate) fn baseline() -> Run {
    answers(|_, _| 10)
}

/// What the candidate answers.
pub(crate) fn candidate() -> Run {
    answers(|i, domain| 10 + if domain == "legal" { WORSE[i % 5] } else { BETTER[i % 5] })
}

fn domains() -> impl Iterator<Item = (usize, &'static str)> {
    (0..300).map(|i| (i, DOMAINS[i / 60]))
}

fn answers(found: impl Fn(usize, &str) -> i32) -> Run {
    let mut run = Run::default();
    for (i, domain) in domains() {
        let relevant = found(i, domain);
        let name = |place: i32| if place < relevant { format!("r{place:02}") } else { format!("x{place:02}") };
        let hits = (0..20).map(|place| Hit { document: name(place), score: -f64::from(place) }).collect();
        run.insert(format!("q{i:03}"), hits);
    }
    run
}
