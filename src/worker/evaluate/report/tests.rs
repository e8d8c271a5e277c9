use std::cell::RefCell;
use std::collections::BTreeSet;

use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, EndTag, StartTag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::sample::{self, HOSTILE};
use super::*;

/// A page as a browser's parser reads it.
#[derive(Default)]
struct Read {
    /// Each element with its attributes.
    elements: Vec<(String, Vec<(String, String)>)>,
    open: Vec<String>,
    text: String,
    errors: Vec<String>,
}

#[derive(Default)]
struct Sink(RefCell<Read>);

const VOID: [&str; 8] = ["meta", "line", "rect", "circle", "path", "wbr", "br", "text"];

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut read = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => {
                let name = tag.name.to_string();
                match tag.kind {
                    StartTag => {
                        let attributes =
                            tag.attrs.iter().map(|a| (a.name.local.to_string(), a.value.to_string())).collect();
                        read.elements.push((name.clone(), attributes));
                        let void = VOID.contains(&name.as_str()) && name != "text";
                        if !tag.self_closing && !void {
                            read.open.push(name.clone());
                        }
                        return match name.as_str() {
                            "style" => TokenSinkResult::RawData(RawKind::Rawtext),
                            "title" => TokenSinkResult::RawData(RawKind::Rcdata),
                            _ => TokenSinkResult::Continue,
                        };
                    }
                    EndTag => match read.open.pop() {
                        Some(open) if open == name => {}
                        open => read.errors.push(format!("</{name}> closes {open:?}")),
                    },
                }
            }
            Token::CharacterTokens(text) => read.text.push_str(&text),
            Token::CommentToken(text) => read.errors.push(format!("a comment: {text}")),
            Token::ParseError(error) => read.errors.push(error.to_string()),
            Token::NullCharacterToken => read.errors.push("a NUL".to_owned()),
            Token::DoctypeToken(_) | Token::EOFToken => {}
        }
        TokenSinkResult::Continue
    }
}

fn read(html: &str) -> Read {
    let input = BufferQueue::default();
    input.push_back(html.into());
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts { exact_errors: true, ..TokenizerOpts::default() });
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner()
}

fn all() -> Vec<Page> {
    vec![
        sample::regressed(),
        sample::passed(),
        sample::undecided(),
        sample::without_baseline(),
        sample::below_its_floor(),
        sample::stopped(),
        sample::hostile(),
        sample::huge(),
    ]
}

#[test]
fn every_page_is_well_formed_and_loads_and_runs_nothing() {
    let known: BTreeSet<&str> = BTreeSet::from([
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "section",
        "article",
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "span",
        "small",
        "b",
        "bdi",
        "wbr",
        "div",
        "dl",
        "dt",
        "dd",
        "ul",
        "ol",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "pre",
        "code",
        "svg",
        "desc",
        "line",
        "rect",
        "circle",
        "path",
        "text",
    ]);
    let attributes: BTreeSet<&str> = BTreeSet::from([
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "class",
        "width",
        "height",
        "viewbox",
        "aria-hidden",
        "aria-label",
        "role",
        "x",
        "y",
        "x1",
        "x2",
        "y1",
        "y2",
        "d",
        "r",
        "rx",
        "overflow",
        "scope",
        "data-label",
    ]);
    for page in all() {
        let found = read(&html(&page));
        assert!(found.errors.is_empty() && found.open.is_empty(), "{:?} {:?}", found.errors, found.open);
        for (element, given) in &found.elements {
            assert!(known.contains(element.as_str()), "<{element}>");
            for (name, value) in given {
                assert!(attributes.contains(name.as_str()), "<{element} {name}>");
                assert!(!value.contains("://") && !value.contains("alert"), "<{element} {name}={value}>");
            }
        }
    }
}

#[test]
fn hostile_names_are_text_and_whole() {
    let page = sample::hostile();
    let found = read(&html(&page));
    // What a reader sees of it: no control character, no change of direction, line ends as spaces.
    let seen = HOSTILE.replace(['\u{0}', '\u{1b}', '\u{202e}', '\u{2066}'], "\u{fffd}").replace(['\n', '\t'], " ");
    assert!(found.text.matches(&seen).count() >= 4, "{}", found.text);
    assert!(found.text.contains(&seen.chars().take(60).collect::<String>()));
    assert!(!found.text.contains('\u{202e}'));
}

#[test]
fn a_page_never_exceeds_its_size() {
    let html = html(&sample::huge());
    assert!(html.len() <= MAX_BYTES, "{} bytes", html.len());
}

#[test]
fn equal_pages_give_equal_bytes() {
    for (a, b) in all().iter().zip(&all()) {
        assert_eq!(html(a), html(b));
    }
}

#[test]
fn the_head_tells_verdict_sentence_and_figures() {
    let text = |page: &Page| read(&html(page)).text;
    let failed = text(&sample::regressed());
    for part in [
        "RegressionProven",
        "a proven regression",
        "225",
        "compared, of 230 judged",
        "−0.0612",
        "−0.0816",
        "−0.05",
        "Smallest margin",
        "0.0487",
        "candidate b07e915d20",
        "benefits",
        "handbook-0003",
        "rag evaluate --queries",
        "41",
        "how many days of leave",
        "candidate: not found",
    ] {
        assert!(failed.contains(part), "{part} is missing in\n{failed}");
    }
    assert!(text(&sample::undecided()).contains("155"));
    let lone = text(&sample::without_baseline());
    assert!(lone.contains("no baseline") && lone.contains("Floor") && !lone.contains("Differences"), "{lone}");
    let stopped = text(&sample::stopped());
    assert!(stopped.contains("qrels.tsv:1: found a judgment") && !stopped.contains("Metrics"), "{stopped}");
    assert!(text(&sample::passed()).contains("No query lost anything"));
}

#[test]
fn a_slice_that_broke_alone_gives_the_figures_of_the_head() {
    let whole = sample::passed();
    let page = Page { reason: "SliceRegression", metrics: whole.metrics, ..sample::regressed() };
    let head = |page: &Page| read(&head::head(page)).text;
    let told = head(&page);
    for part in ["benefits", "60", "in this slice", "−0.1400", "baseline 0.6000"] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
    assert!(!told.contains("225 judged") && !told.contains("+0.0040"), "the whole is shown:\n{told}");
    // Where the whole failed too, it tells more.
    assert!(!head(&sample::regressed()).contains("in this slice"));
    let page = Page { slices: sample::hostile().slices, ..page };
    assert_eq!(read(&html(&page)).errors, Vec::<String>::new());
}

#[test]
fn a_worst_slice_below_its_floor_gives_the_figures_of_the_head() {
    let page = sample::below_its_floor();
    let told = read(&head::head(&page)).text;
    for part in ["travel", "31", "in this slice", "0.2100", "of ndcg@10; baseline 0.2000", "Floor", "0.25"] {
        assert!(told.contains(part), "{part} is missing in\n{told}");
    }
    assert!(!told.contains("225 judged") && !told.contains("+0.0040"), "the whole is shown:\n{told}");
    let text = read(&html(&page)).text;
    assert!(text.contains("at least 0.25 in the worst slice"), "{text}");
}

#[test]
fn every_bar_of_a_histogram_counts_and_none_is_lost() {
    // The bars of a sorted plot are as many as the changed queries, up to the most that are drawn.
    let bars = |page: &Page| {
        let found = read(&html(page));
        found.elements.iter().filter(|(name, _)| name == "rect").count()
    };
    let mut page = sample::undecided();
    page.spreads[0].values = vec![-0.5, -0.5, -0.1, 0.0, 0.0, 0.2];
    assert_eq!(bars(&page), 3 + 4);
    page.spreads[0].values = vec![0.0; 50];
    assert_eq!(bars(&page), 0);
}

/// Writes the pages for looking at them: `RAG_LOOK=DIR cargo test --lib look_at_it`.
#[test]
fn look_at_it() {
    let Some(directory) = std::env::var_os("RAG_LOOK") else { return };
    let names =
        ["regressed", "passed", "undecided", "without-baseline", "below-its-floor", "stopped", "hostile", "huge"];
    for (name, page) in names.iter().zip(all()) {
        std::fs::write(std::path::Path::new(&directory).join(format!("{name}.html")), html(&page)).unwrap();
    }
}
