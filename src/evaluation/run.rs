//! What an arm answered: for each query a ranked list of documents; TREC run files.
//!
//! Invariants: a document stands once in a list; scores are finite; a list is sorted by score descending and,
//! where scores are equal, by document descending bytewise, which is trec_eval's order: a saved run gives the
//! same figures there. The rank column of a file is not read.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::lines::{Lines, ReadError, short};

/// One document of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub document: String,
    pub score: f64,
}

/// Sorts for the metrics: score descending, document descending bytewise.
pub fn ranked(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_unstable_by(|a, b| higher_first(a, b).then_with(|| b.document.cmp(&a.document)));
    hits
}

/// Scores are finite, so each pair compares; 0 and -0 are equal, as in trec_eval.
fn higher_first(a: &Hit, b: &Hit) -> Ordering {
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal)
}

/// Turns chunks into documents: the score of a document is the highest of its chunks (MaxP). Keeps the `keep`
/// documents that the arm would serve (score descending, document ascending), sorted for the metrics.
pub fn collapsed(chunks: Vec<Hit>, keep: usize) -> Vec<Hit> {
    let mut best: HashMap<String, f64> = HashMap::with_capacity(chunks.len());
    for Hit { document, score } in chunks {
        best.entry(document).and_modify(|s| *s = s.max(score)).or_insert(score);
    }
    let mut documents: Vec<Hit> = best.into_iter().map(|(document, score)| Hit { document, score }).collect();
    documents.sort_unstable_by(served);
    documents.truncate(keep);
    ranked(documents)
}

fn served(a: &Hit, b: &Hit) -> Ordering {
    higher_first(a, b).then_with(|| a.document.cmp(&b.document))
}

/// The answers of an arm, each list in the order of [`ranked`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    lists: BTreeMap<String, Vec<Hit>>,
}

/// Why a run file is refused.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{}:{line}: {problem}", file.display())]
    Line { file: PathBuf, line: u64, problem: LineProblem },
    #[error("{}: the file holds no line; a run line is `query Q0 document rank score run`", file.display())]
    Empty { file: PathBuf },
}

/// What is wrong with a line of a run file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    #[error("found {0} columns, a run line has 6: `query Q0 document rank score run`")]
    Columns(usize),
    #[error("score `{0}` is not a finite number")]
    Score(String),
    #[error("document `{document}` stands twice for query `{query}`; keep one line")]
    Duplicate { query: String, document: String },
}

impl Run {
    /// Takes the list of one query.
    pub fn insert(&mut self, query: String, hits: Vec<Hit>) {
        self.lists.insert(query, ranked(hits));
    }

    /// The list of one query; `None` if the arm gave none.
    pub fn list(&self, query: &str) -> Option<&[Hit]> {
        self.lists.get(query).map(Vec::as_slice)
    }

    /// Ids of the queries, bytewise ascending.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.lists.keys().map(String::as_str)
    }

    /// Reads a TREC run file; gives it with the SHA-256 of its bytes.
    pub fn read(file: &Path) -> Result<(Self, [u8; 32]), RunError> {
        let mut lines = Lines::open(file)?;
        let mut lists: BTreeMap<String, Vec<(u64, Hit)>> = BTreeMap::new();
        while let Some((line, text)) = lines.next_line()? {
            let refused = |problem| RunError::Line { file: file.to_owned(), line, problem };
            let (query, hit) = parse(text).map_err(refused)?;
            match lists.get_mut(query) {
                Some(list) => list.push((line, hit)),
                None => {
                    lists.insert(query.to_owned(), vec![(line, hit)]);
                }
            }
        }
        if lists.is_empty() {
            return Err(RunError::Empty { file: file.to_owned() });
        }
        if let Some((line, problem)) = lists.iter_mut().filter_map(first_duplicate).min_by_key(|(line, _)| *line) {
            return Err(RunError::Line { file: file.to_owned(), line, problem });
        }
        let without_lines = |hits: Vec<(u64, Hit)>| ranked(hits.into_iter().map(|(_, hit)| hit).collect());
        let lists = lists.into_iter().map(|(query, hits)| (query, without_lines(hits))).collect();
        Ok((Self { lists }, lines.digest()))
    }

    /// Writes a TREC run file; scores keep every digit. An id with a space cannot stand in such a file.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        for (query, hits) in &self.lists {
            for (hit, rank) in hits.iter().zip(1_usize..) {
                for id in [query, &hit.document] {
                    if id.is_empty() || id.contains(char::is_whitespace) {
                        let why = format!("`{id}` is empty or has a space in it: no TREC run file can hold it");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                }
                writeln!(to, "{query} Q0 {} {rank} {} rag", hit.document, hit.score)?;
            }
        }
        to.flush()
    }
}

/// The first line that names a document again. Sorting finds it without a second copy of every id.
fn first_duplicate((query, hits): (&String, &mut Vec<(u64, Hit)>)) -> Option<(u64, LineProblem)> {
    hits.sort_unstable_by(|(a, x), (b, y)| x.document.cmp(&y.document).then(a.cmp(b)));
    let again = hits.windows(2).filter_map(|pair| match pair {
        [(_, first), (line, second)] if first.document == second.document => Some((*line, &second.document)),
        _ => None,
    });
    let (line, document) = again.min_by_key(|(line, _)| *line)?;
    Some((line, LineProblem::Duplicate { query: short(query), document: short(document) }))
}

/// Text after the sixth column is part of the run's name, as in trec_eval.
fn parse(text: &str) -> Result<(&str, Hit), LineProblem> {
    let mut columns = text.split_ascii_whitespace();
    let mut next = || columns.next();
    match (next(), next(), next(), next(), next(), next()) {
        (Some(query), Some(_), Some(document), Some(_), Some(score), Some(_)) => {
            let number = score.parse::<f64>().ok().filter(|s| s.is_finite());
            let number = number.ok_or_else(|| LineProblem::Score(short(score)))?;
            Ok((query, Hit { document: document.to_owned(), score: number }))
        }
        _ => Err(LineProblem::Columns(text.split_ascii_whitespace().count())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(document: &str, score: f64) -> Hit {
        Hit { document: document.to_owned(), score }
    }

    fn documents(hits: &[Hit]) -> Vec<&str> {
        hits.iter().map(|h| h.document.as_str()).collect()
    }

    fn read(content: &str) -> Result<Run, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.txt");
        std::fs::write(&file, content).unwrap();
        Run::read(&file).map(|(run, _)| run).map_err(|e| e.to_string())
    }

    #[test]
    fn a_document_scores_as_its_best_chunk() {
        let list = collapsed(vec![hit("a", 0.1), hit("b", 0.5), hit("a", 0.9), hit("b", 0.2)], 10);
        assert_eq!(list, [hit("a", 0.9), hit("b", 0.5)]);
    }

    #[test]
    fn the_served_order_decides_which_documents_stay_and_trec_evals_how_they_rank() {
        let chunks = vec![hit("c", 0.5), hit("a", 0.5), hit("b", 0.5)];
        assert_eq!(documents(&collapsed(chunks, 2)), ["b", "a"]);
    }

    #[test]
    fn order_comes_from_the_score_and_not_from_the_rank() {
        let run = read("q Q0 x 1 0.1 r\nq Q0 y 2 0.2 r more words\nz 0 x 1 -3e2 r\n").unwrap();
        assert_eq!(documents(run.list("q").unwrap()), ["y", "x"]);
        assert_eq!(run.list("z").unwrap(), [hit("x", -300.0)]);
        assert_eq!(run.queries().collect::<Vec<_>>(), ["q", "z"]);
        assert_eq!(run.list("other"), None);
    }

    #[test]
    fn malformed_lines_are_refused_with_file_and_line() {
        let cases = [
            ("q Q0 d 1 0.5 r\nq Q0 e 1 0.5\n", "run.txt:2: found 5 columns, a run line has 6"),
            ("q Q0 d 1 NaN r\n", "run.txt:1: score `NaN` is not a finite number"),
            ("q Q0 d 1 inf r\n", "run.txt:1: score `inf` is not a finite number"),
            ("q Q0 d 1 x r\n", "run.txt:1: score `x` is not a finite number"),
            ("q Q0 d 1 1 r\nr Q0 d 1 1 r\nq Q0 d 2 .5 r\n", "run.txt:3: document `d` stands twice for query `q`"),
            ("\n\n", "run.txt: the file holds no line"),
        ];
        for (content, expected) in cases {
            let error = read(content).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_written_run_reads_back_as_the_same_run() {
        let mut run = Run::default();
        run.insert("q2".to_owned(), vec![hit("a", 1.0 / 3.0), hit("b", 1e-17)]);
        run.insert("q1".to_owned(), vec![hit("x", -2.5)]);
        let mut text = Vec::new();
        run.write(&mut text).unwrap();
        assert_eq!(read(std::str::from_utf8(&text).unwrap()).unwrap(), run);
        run.insert("q3".to_owned(), vec![hit("two words", 1.0)]);
        let error = run.write(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("`two words` is empty or has a space"), "{error}");
    }
}
