//! The handbook collection in `examples/handbook` is what its README says: complete, consistent and free of shortcuts
//! that would make a search look better than it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

const DOMAINS: [(&str, &str); 4] = [("people", "p"), ("it", "i"), ("travel", "t"), ("legal", "l")];
const TASKS: [&str; 4] = ["policy", "howto", "reference", "contact"];
const LANGUAGES: [&str; 3] = ["en", "de", "zh"];

/// What is counted, in which language if not in all, and how many there must be.
const AMOUNTS: [(Counted, Option<&str>, usize); 6] = [
    (Counted::Documents, None, 160),
    (Counted::Documents, Some("de"), 20),
    (Counted::Documents, Some("zh"), 15),
    (Counted::Queries, None, 160),
    (Counted::Queries, Some("de"), 15),
    (Counted::Queries, Some("zh"), 10),
];

#[derive(Clone, Copy, Debug)]
enum Counted {
    Documents,
    Queries,
}

const MIN_WORDS: f64 = 60.0;
const MAX_WORDS: f64 = 300.0;
const CHARACTERS_A_WORD: f64 = 1.7;

/// Lengths of runs, in words and in Chinese characters.
struct Run {
    words: usize,
    characters: usize,
}

const SHARED: Run = Run { words: 8, characters: 16 };
const COPIED: Run = Run { words: 6, characters: 10 };
const OPENING: Run = Run { words: 3, characters: 5 };

// ---------------------------------------------------------------------------------------------------------------------
// The collection and its files

#[derive(Clone)]
struct Document {
    id: String,
    title: String,
    text: String,
    domain: String,
    task: String,
    language: String,
}

#[derive(Clone)]
struct Query {
    id: String,
    text: String,
    domain: String,
    language: String,
}

#[derive(Clone)]
struct Judgment {
    query: String,
    document: String,
    score: u8,
}

#[derive(Clone)]
struct Collection {
    documents: Vec<Document>,
    queries: Vec<Query>,
    judgments: Vec<Judgment>,
    pairs: Vec<(String, String)>,
}

/// The four files as text.
#[derive(Clone)]
struct Files {
    corpus: String,
    queries: String,
    qrels: String,
    pairs: String,
}

impl Files {
    fn read() -> Result<Files, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/handbook");
        let read = |name: &str| fs::read_to_string(folder.join(name)).map_err(|e| format!("{name}: {e}"));
        Ok(Files {
            corpus: read("corpus.jsonl")?,
            queries: read("queries.jsonl")?,
            qrels: read("qrels/test.tsv")?,
            pairs: read("near-duplicates.tsv")?,
        })
    }

    fn parse(&self) -> Result<Collection, String> {
        let domains = DOMAINS.map(|(domain, _)| domain);
        Ok(Collection {
            documents: objects("corpus.jsonl", &self.corpus, |o| {
                Ok(Document {
                    id: field(o, "/_id")?,
                    title: field(o, "/title")?,
                    text: field(o, "/text")?,
                    domain: one_of(o, "/metadata/domain", &domains)?,
                    task: one_of(o, "/metadata/task", &TASKS)?,
                    language: one_of(o, "/metadata/language", &LANGUAGES)?,
                })
            })?,
            queries: objects("queries.jsonl", &self.queries, |o| {
                Ok(Query {
                    id: field(o, "/_id")?,
                    text: field(o, "/text")?,
                    domain: one_of(o, "/metadata/domain", &domains)?,
                    language: one_of(o, "/metadata/language", &LANGUAGES)?,
                })
            })?,
            judgments: rows("qrels/test.tsv", &self.qrels, "query-id\tcorpus-id\tscore", |columns| match columns {
                [query, document, "1"] => Ok(judgment(query, document, 1)),
                [query, document, "2"] => Ok(judgment(query, document, 2)),
                _ => Err("expected a query, a document and a score of 1 or 2".into()),
            })?,
            pairs: rows("near-duplicates.tsv", &self.pairs, "id-a\tid-b", |columns| match columns {
                [a, b] => Ok((a.to_string(), b.to_string())),
                _ => Err("expected two documents".into()),
            })?,
        })
    }
}

fn judgment(query: &str, document: &str, score: u8) -> Judgment {
    Judgment { query: query.into(), document: document.into(), score }
}

fn objects<T>(name: &str, content: &str, read: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    let object = |(n, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|e| e.to_string())
            .and_then(|object| read(&object))
            .map_err(|e| format!("{name}, line {}: {e}", n + 1))
    };
    content.lines().enumerate().map(object).collect()
}

fn field(object: &Value, pointer: &str) -> Result<String, String> {
    match object.pointer(pointer).and_then(Value::as_str) {
        Some(text) if !text.trim().is_empty() => Ok(text.to_string()),
        _ => Err(format!("no text in {pointer}")),
    }
}

fn one_of(object: &Value, pointer: &str, known: &[&str]) -> Result<String, String> {
    let text = field(object, pointer)?;
    if known.contains(&text.as_str()) { Ok(text) } else { Err(format!("{pointer} is {text}, not one of {known:?}")) }
}

fn rows<T>(
    name: &str,
    content: &str,
    header: &str,
    read: impl Fn(&[&str]) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut lines = content.lines().enumerate();
    if lines.next().map(|(_, line)| line) != Some(header) {
        return Err(format!("{name}: the first line is not {header:?}"));
    }
    let row = |(n, line): (usize, &str)| {
        read(&line.split('\t').collect::<Vec<_>>()).map_err(|e| format!("{name}, line {}: {e}", n + 1))
    };
    lines.map(row).collect()
}

// ---------------------------------------------------------------------------------------------------------------------
// Words

fn is_chinese(c: char) -> bool {
    ('\u{3400}'..='\u{9fff}').contains(&c)
}

/// Lower-case words; Chinese characters and punctuation only separate them.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() || is_chinese(c))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn chinese(text: &str) -> Vec<char> {
    text.chars().filter(|c| is_chinese(*c)).collect()
}

/// Every run of words and of Chinese characters of the given lengths.
fn runs(text: &str, length: &Run) -> BTreeSet<String> {
    let (words, characters) = (words(text), chinese(text));
    let of_words = words.windows(length.words).map(|run| run.join(" "));
    of_words.chain(characters.windows(length.characters).map(|run| run.iter().collect())).collect()
}

fn document_runs(document: &Document, length: &Run) -> BTreeSet<String> {
    &runs(&document.title, length) | &runs(&document.text, length)
}

fn opening(document: &Document) -> String {
    if document.language == "zh" {
        chinese(&document.text).into_iter().take(OPENING.characters).collect()
    } else {
        words(&document.text).into_iter().take(OPENING.words).collect::<Vec<_>>().join(" ")
    }
}

fn word_count(document: &Document) -> f64 {
    if document.language == "zh" {
        document.text.chars().filter(|c| !c.is_whitespace()).count() as f64 / CHARACTERS_A_WORD
    } else {
        document.text.split_whitespace().count() as f64
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The checks: each returns what is wrong, naming ids and words

type Check = fn(&Collection) -> Vec<String>;

const CHECKS: [(&str, Check); 11] = [
    ("ids are unique", ids_are_unique),
    ("ids fit their domain", ids_fit_their_domain),
    ("lists are sound", lists_are_sound),
    ("every query is answered", every_query_is_answered),
    ("editions are graded apart", editions_are_graded_apart),
    ("no text is shared", no_text_is_shared),
    ("near-duplicates are near", near_duplicates_are_near),
    ("no query copies its answer", no_query_copies_its_answer),
    ("openings differ", openings_differ),
    ("texts have the right length", texts_have_the_right_length),
    ("the amounts are there", the_amounts_are_there),
];

fn ids_are_unique(c: &Collection) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let ids = c.documents.iter().map(|d| &d.id).chain(c.queries.iter().map(|q| &q.id));
    ids.filter(|id| !seen.insert(*id)).map(|id| format!("{id} is used twice")).collect()
}

fn ids_fit_their_domain(c: &Collection) -> Vec<String> {
    let prefix = |domain: &str| DOMAINS.iter().find(|(name, _)| *name == domain).map_or("", |(_, prefix)| prefix);
    let slug = |rest: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !rest.is_empty() && rest.len() <= 48 && rest.chars().all(plain)
    };
    let number = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit());
    let documents = c.documents.iter().filter(|d| {
        let rest = d.id.strip_prefix(prefix(&d.domain)).and_then(|rest| rest.strip_prefix('-'));
        !rest.is_some_and(slug)
    });
    let queries = c.queries.iter().filter(|q| {
        let rest = q.id.strip_prefix(prefix(&q.domain)).and_then(|rest| rest.strip_prefix('q'));
        !rest.is_some_and(number)
    });
    let ids = documents.map(|d| (&d.id, &d.domain)).chain(queries.map(|q| (&q.id, &q.domain)));
    ids.map(|(id, domain)| format!("{id:?} is no id of the domain {domain}")).collect()
}

/// Judgments and pairs refer to what exists, once each and in order.
fn lists_are_sound(c: &Collection) -> Vec<String> {
    let documents: BTreeSet<&str> = c.documents.iter().map(|d| d.id.as_str()).collect();
    let queries: BTreeSet<&str> = c.queries.iter().map(|q| q.id.as_str()).collect();
    let mut faults = Vec::new();
    for j in &c.judgments {
        if !queries.contains(j.query.as_str()) {
            faults.push(format!("judgment {} {}: no such query", j.query, j.document));
        }
        if !documents.contains(j.document.as_str()) {
            faults.push(format!("judgment {} {}: no such document", j.query, j.document));
        }
    }
    for j in c.judgments.windows(2) {
        let (first, second) = (&j[0], &j[1]);
        if (&first.query, &first.document) >= (&second.query, &second.document) {
            let order = format!("once, and before {} {}", first.query, first.document);
            faults.push(format!("judgment {} {} must come {order}", second.query, second.document));
        }
    }
    for (a, b) in &c.pairs {
        for id in [a, b].into_iter().filter(|id| !documents.contains(id.as_str())) {
            faults.push(format!("near-duplicates {a} {b}: no document {id}"));
        }
        if a >= b {
            faults.push(format!("near-duplicates {a} {b}: the smaller id comes first"));
        }
    }
    for p in c.pairs.windows(2).filter(|p| p[0] >= p[1]) {
        let order = format!("once, and before {} {}", p[0].0, p[0].1);
        faults.push(format!("near-duplicates {} {} must come {order}", p[1].0, p[1].1));
    }
    faults
}

/// A German or Chinese query needs an answer in its own language; an English one may be answered in any.
fn every_query_is_answered(c: &Collection) -> Vec<String> {
    let language: BTreeMap<&str, &str> = c.documents.iter().map(|d| (d.id.as_str(), d.language.as_str())).collect();
    let fault = |q: &Query| {
        let mut answers = c.judgments.iter().filter(|j| j.query == q.id && j.score == 2).peekable();
        if answers.peek().is_none() {
            return Some(format!("{} ({}) has no document of score 2", q.id, q.text));
        }
        let own =
            q.language == "en" || answers.any(|j| language.get(j.document.as_str()) == Some(&q.language.as_str()));
        (!own).then(|| format!("{} ({}) has no answer in its language, {}", q.id, q.text, q.language))
    };
    c.queries.iter().filter_map(fault).collect()
}

/// Of two yearly editions one is in force for the query: it gets one point more than the other.
fn editions_are_graded_apart(c: &Collection) -> Vec<String> {
    let year = |id: &str| id.rsplit_once('-').is_some_and(|(_, end)| end.len() == 4 && end.parse::<u16>().is_ok());
    let score = |query: &Query, id: &str| {
        c.judgments.iter().find(|j| j.query == query.id && j.document == *id).map_or(0, |j| j.score)
    };
    let mut faults = Vec::new();
    for (a, b) in c.pairs.iter().filter(|(a, b)| year(a) && year(b)) {
        for q in &c.queries {
            let (one, other) = (score(q, a), score(q, b));
            if one.max(other) > 0 && one.abs_diff(other) != 1 {
                faults.push(format!("{} ({}): {a} has {one} and {b} has {other}", q.id, q.text));
            }
        }
    }
    faults
}

fn no_text_is_shared(c: &Collection) -> Vec<String> {
    let allowed: BTreeSet<(&str, &str)> = c.pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut holders: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for d in &c.documents {
        for run in document_runs(d, &SHARED) {
            holders.entry(run).or_default().push(&d.id);
        }
    }
    let mut shared: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (run, ids) in holders {
        for (n, a) in ids.iter().enumerate() {
            for b in &ids[n + 1..] {
                let pair = if a <= b { (*a, *b) } else { (*b, *a) };
                if !allowed.contains(&pair) {
                    shared.entry(pair).or_insert_with(|| run.clone());
                }
            }
        }
    }
    shared.into_iter().map(|((a, b), run)| format!("{a} and {b} share \"{run}\"")).collect()
}

/// A pair that shares nothing would excuse a text that nobody meant to excuse.
fn near_duplicates_are_near(c: &Collection) -> Vec<String> {
    let runs: BTreeMap<&str, _> = c.documents.iter().map(|d| (d.id.as_str(), document_runs(d, &SHARED))).collect();
    let near = |a: &str, b: &str| match (runs.get(a), runs.get(b)) {
        (Some(a), Some(b)) => !a.is_disjoint(b),
        _ => true,
    };
    let far = c.pairs.iter().filter(|(a, b)| !near(a, b));
    far.map(|(a, b)| format!("near-duplicates {a} {b} share no text")).collect()
}

fn no_query_copies_its_answer(c: &Collection) -> Vec<String> {
    let documents: BTreeMap<&str, &Document> = c.documents.iter().map(|d| (d.id.as_str(), d)).collect();
    let queries: BTreeMap<&str, &Query> = c.queries.iter().map(|q| (q.id.as_str(), q)).collect();
    let mut faults = Vec::new();
    for j in &c.judgments {
        if let (Some(query), Some(document)) = (queries.get(j.query.as_str()), documents.get(j.document.as_str())) {
            let copied = &runs(&query.text, &COPIED) & &document_runs(document, &COPIED);
            faults.extend(copied.iter().map(|run| format!("{} copies \"{run}\" from {}", j.query, j.document)));
        }
    }
    faults
}

fn openings_differ(c: &Collection) -> Vec<String> {
    let mut first: BTreeMap<String, &str> = BTreeMap::new();
    let mut faults = Vec::new();
    for d in &c.documents {
        let opening = opening(d);
        if let Some(other) = first.get(&opening) {
            faults.push(format!("{other} and {} both begin with \"{opening}\"", d.id));
        } else {
            first.insert(opening, &d.id);
        }
    }
    faults
}

fn texts_have_the_right_length(c: &Collection) -> Vec<String> {
    let counts = c.documents.iter().map(|d| (&d.id, word_count(d)));
    let wrong = counts.filter(|(_, words)| !(MIN_WORDS..=MAX_WORDS).contains(words));
    wrong.map(|(id, words)| format!("{id} has {words:.1} words, not {MIN_WORDS} to {MAX_WORDS}")).collect()
}

fn the_amounts_are_there(c: &Collection) -> Vec<String> {
    let mut faults = Vec::new();
    for (counted, language, least) in AMOUNTS {
        let n = match counted {
            Counted::Documents => c.documents.iter().filter(|d| language.is_none_or(|l| d.language == l)).count(),
            Counted::Queries => c.queries.iter().filter(|q| language.is_none_or(|l| q.language == l)).count(),
        };
        if n < least {
            faults.push(too_few(counted, language, n, least));
        }
    }
    for (domain, _) in DOMAINS {
        if !c.documents.iter().any(|d| d.domain == domain) {
            faults.push(format!("no document of the domain {domain}"));
        }
        if !c.queries.iter().any(|q| q.domain == domain) {
            faults.push(format!("no query of the domain {domain}"));
        }
    }
    for task in TASKS.iter().filter(|task| !c.documents.iter().any(|d| d.task == **task)) {
        faults.push(format!("no document of the task {task}"));
    }
    faults
}

fn too_few(counted: Counted, language: Option<&str>, n: usize, least: usize) -> String {
    format!("{counted:?} in {}: {n}, at least {least} wanted", language.unwrap_or("all languages"))
}

// ---------------------------------------------------------------------------------------------------------------------
// The collection passes, and each check can fail

#[test]
fn the_handbook_passes_every_check() {
    let collection = Files::read().unwrap().parse().unwrap();
    let faults: Vec<String> = CHECKS
        .iter()
        .flat_map(|(name, check)| check(&collection).into_iter().map(move |fault| format!("{name}: {fault}")))
        .collect();
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// A healthy collection in miniature: apart from the amounts, a check finds in it only what was damaged.
fn miniature() -> Collection {
    let document = |id: &str, domain: &str, language: &str, text: &str| Document {
        id: id.into(),
        title: format!("Title {id}"),
        text: text.into(),
        domain: domain.into(),
        task: "policy".into(),
        language: language.into(),
    };
    let query = |id: &str, domain: &str, language: &str, text: &str| Query {
        id: id.into(),
        text: text.into(),
        domain: domain.into(),
        language: language.into(),
    };
    let prose = |seed: &str| (0..70).map(|n| format!("{seed}{n}")).collect::<Vec<_>>().join(" ");
    let script = |start: u32| (start..start + 150).filter_map(char::from_u32).collect::<String>();
    let rule = prose("rule");
    Collection {
        documents: vec![
            document("p-rule-2025", "people", "en", &format!("Edition of 2025. {rule}")),
            document("p-rule-2026", "people", "en", &format!("Present edition, 2026. {rule}")),
            document("i-disk", "it", "de", &prose("platte")),
            document("t-train", "travel", "zh", &script(0x4e00)),
            document("t-plane", "travel", "zh", &script(0x5000)),
            document("l-seal", "legal", "en", &prose("seal")),
        ],
        queries: vec![
            query("pq1", "people", "en", "which rule is it now"),
            query("iq1", "it", "de", "platte voll"),
            query("tq1", "travel", "zh", "火车"),
            query("lq1", "legal", "en", "seal gone"),
        ],
        judgments: vec![
            judgment("iq1", "i-disk", 2),
            judgment("lq1", "l-seal", 2),
            judgment("pq1", "p-rule-2025", 1),
            judgment("pq1", "p-rule-2026", 2),
            judgment("tq1", "t-train", 2),
        ],
        pairs: vec![("p-rule-2025".into(), "p-rule-2026".into())],
    }
}

/// A check, a damage to the miniature, and what one of the messages has to name.
type Break = (&'static str, fn(&mut Collection), &'static [&'static str]);

const BREAKS: [Break; 32] = [
    ("ids are unique", |c| c.documents[5].id = "i-disk".into(), &["i-disk"]),
    ("ids are unique", |c| c.queries[1].id = "pq1".into(), &["pq1"]),
    ("ids fit their domain", |c| c.documents[2].id = "l-disk".into(), &["\"l-disk\"", "it"]),
    ("ids fit their domain", |c| c.documents[2].id = "i-Disk".into(), &["\"i-Disk\"", "it"]),
    ("ids fit their domain", |c| c.documents[2].id = "i-".into(), &["\"i-\"", "it"]),
    ("ids fit their domain", |c| c.documents[2].id = format!("i-{}", "x".repeat(49)), &["i-xxx", "it"]),
    ("ids fit their domain", |c| c.queries[3].id = "lq1a".into(), &["\"lq1a\"", "legal"]),
    ("lists are sound", |c| c.judgments[4].document = "t-tram".into(), &["tq1 t-tram", "no such document"]),
    ("lists are sound", |c| c.judgments[4].query = "tq2".into(), &["tq2 t-train", "no such query"]),
    ("lists are sound", |c| c.judgments.swap(2, 3), &["pq1 p-rule-2025", "before pq1 p-rule-2026"]),
    ("lists are sound", |c| c.judgments.push(judgment("tq1", "t-train", 1)), &["tq1 t-train must come once"]),
    (
        "lists are sound",
        |c| c.pairs.push(("t-plane".into(), "t-tram".into())),
        &["t-plane t-tram", "no document t-tram"],
    ),
    (
        "lists are sound",
        |c| c.pairs[0] = ("p-rule-2026".into(), "p-rule-2025".into()),
        &["p-rule-2026 p-rule-2025", "the smaller id"],
    ),
    (
        "lists are sound",
        |c| c.pairs.push(("i-disk".into(), "l-seal".into())),
        &["i-disk l-seal", "before p-rule-2025 p-rule-2026"],
    ),
    ("every query is answered", |c| c.judgments[1].score = 1, &["lq1 (seal gone)", "score 2"]),
    ("every query is answered", |c| c.documents[3].language = "en".into(), &["tq1 (火车)", "language, zh"]),
    ("editions are graded apart", |c| c.judgments[2].score = 2, &["pq1", "p-rule-2025 has 2", "p-rule-2026 has 2"]),
    (
        "editions are graded apart",
        |c| c.judgments.retain(|j| j.document != "p-rule-2025"),
        &["pq1", "p-rule-2025 has 0", "p-rule-2026 has 2"],
    ),
    (
        "no text is shared",
        |c| c.documents[5].text += ". PLATTE1, platte2 (platte3) platte4 – platte5; platte6 platte7 platte8!",
        &["i-disk and l-seal", "\"platte1 platte2 platte3 platte4 platte5 platte6 platte7 platte8\""],
    ),
    (
        "no text is shared",
        |c| c.documents[5].title = "Platte1 platte2 platte3 platte4 platte5 platte6 platte7 platte8".into(),
        &["i-disk and l-seal", "\"platte1 platte2 platte3 platte4 platte5 platte6 platte7 platte8\""],
    ),
    (
        "no text is shared",
        |c| c.documents[4].text += "，一丁丂七丄丅丆万，丈三上下丌不与丏",
        &["t-plane and t-train", "\"一丁丂七丄丅丆万丈三上下丌不与丏\""],
    ),
    ("no text is shared", |c| c.pairs.clear(), &["p-rule-2025 and p-rule-2026", "rule0 rule1"]),
    (
        "near-duplicates are near",
        |c| c.pairs.push(("t-plane".into(), "t-train".into())),
        &["t-plane t-train share no text"],
    ),
    (
        "no query copies its answer",
        |c| c.queries[3].text = "is it Seal3 seal4, seal5 seal6 seal7 seal8?".into(),
        &["lq1", "\"seal3 seal4 seal5 seal6 seal7 seal8\" from l-seal"],
    ),
    (
        "no query copies its answer",
        |c| c.queries[2].text = "一丁丂七丄，丅丆万丈三".into(),
        &["tq1", "\"一丁丂七丄丅丆万丈三\" from t-train"],
    ),
    (
        "openings differ",
        |c| c.documents[5].text.insert_str(0, "PLATTE0: platte1 (platte2) "),
        &["i-disk and l-seal", "\"platte0 platte1 platte2\""],
    ),
    (
        "openings differ",
        |c| c.documents[4].text.insert_str(0, "一丁丂，七丄"),
        &["t-train and t-plane", "\"一丁丂七丄\""],
    ),
    ("texts have the right length", |c| c.documents[5].text = "seal ".repeat(59), &["l-seal has 59.0 words"]),
    ("texts have the right length", |c| c.documents[4].text = "机".repeat(511), &["t-plane has 300.6 words"]),
    ("the amounts are there", |c| c.documents.retain(|d| d.domain != "legal"), &["no document of the domain legal"]),
    ("the amounts are there", |c| c.queries.retain(|q| q.domain != "it"), &["no query of the domain it"]),
    ("the amounts are there", |c| c.documents[0].task = "howto".into(), &["no document of the task contact"]),
];

#[test]
fn each_check_names_what_is_broken() {
    for (name, check) in CHECKS.iter().filter(|(name, _)| *name != "the amounts are there") {
        assert_eq!(check(&miniature()), [""; 0], "{name}: the miniature is healthy");
    }
    for (name, damage, named) in &BREAKS {
        let mut collection = miniature();
        damage(&mut collection);
        let (_, check) = CHECKS.iter().find(|(other, _)| other == name).unwrap();
        let faults = check(&collection);
        let found = faults.iter().any(|fault| named.iter().all(|part| fault.contains(part)));
        assert!(found, "{name}: no message names all of {named:?}: {faults:?}");
    }
    let broken: BTreeSet<&str> = BREAKS.iter().map(|(name, ..)| *name).collect();
    let never: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).filter(|name| !broken.contains(name)).collect();
    assert_eq!(never, [""; 0], "checks that were never seen to fail");
}

/// The handbook is thinned out, for each amount to its limit and then to one below.
#[test]
fn one_below_an_amount_is_a_fault() {
    let handbook = Files::read().unwrap().parse().unwrap();
    for (counted, language, least) in AMOUNTS {
        let faults = |keep: usize| {
            let mut collection = handbook.clone();
            let mut kept = 0;
            let mut keeps = |of: &str| {
                let counts = language.is_none_or(|language| of == language);
                kept += usize::from(counts);
                !counts || kept <= keep
            };
            match counted {
                Counted::Documents => collection.documents.retain(|d| keeps(&d.language)),
                Counted::Queries => collection.queries.retain(|q| keeps(&q.language)),
            }
            the_amounts_are_there(&collection)
        };
        let fault = |n: usize| too_few(counted, language, n, least);
        assert!(!faults(least).contains(&fault(least)), "enough, but: {}", fault(least));
        assert!(faults(least - 1).contains(&fault(least - 1)), "expected: {}", fault(least - 1));
    }
}

#[test]
fn a_broken_file_is_refused_with_its_line() {
    let document =
        r#"{"_id":"p-a","title":"T","text":"x","metadata":{"domain":"people","task":"howto","language":"en"}}"#;
    let query = r#"{"_id":"pq1","text":"x","metadata":{"domain":"people","language":"en"}}"#;
    let sound = Files {
        corpus: format!("{document}\n"),
        queries: format!("{query}\n"),
        qrels: "query-id\tcorpus-id\tscore\npq1\tp-a\t2\n".into(),
        pairs: "id-a\tid-b\np-a\tp-b\n".into(),
    };
    assert!(sound.parse().is_ok());

    type Damage = fn(&mut Files);
    let cases: [(Damage, &[&str]); 11] = [
        (|f| f.corpus += "{\n", &["corpus.jsonl, line 2"]),
        (|f| f.corpus += "\n", &["corpus.jsonl, line 2"]),
        (|f| f.corpus = f.corpus.replace("\"T\"", "\" \""), &["corpus.jsonl, line 1", "/title"]),
        (|f| f.corpus = f.corpus.replace("howto", "poem"), &["corpus.jsonl, line 1", "/metadata/task", "poem"]),
        (|f| f.corpus = f.corpus.replace("people", "sport"), &["corpus.jsonl, line 1", "/metadata/domain", "sport"]),
        (|f| f.corpus = f.corpus.replace("\"en\"", "\"fr\""), &["corpus.jsonl, line 1", "/metadata/language", "fr"]),
        (|f| f.queries = f.queries.replace("text", "body"), &["queries.jsonl, line 1", "/text"]),
        (|f| f.qrels = f.qrels.replace("score", "grade"), &["qrels/test.tsv", "first line"]),
        (|f| f.qrels += "pq1\tp-b\t3\n", &["qrels/test.tsv, line 3"]),
        (|f| f.pairs.clear(), &["near-duplicates.tsv", "first line"]),
        (|f| f.pairs += "p-c\n", &["near-duplicates.tsv, line 3"]),
    ];
    for (damage, named) in cases {
        let mut files = sound.clone();
        damage(&mut files);
        let error = files.parse().err().unwrap_or_default();
        assert!(named.iter().all(|part| error.contains(part)), "expected {named:?} in {error:?}");
    }
}
