//! What the keyword side indexes and how a user's text becomes a query.
//!
//! Why: FTS5 has a query language, and users type `C++ (dev)` and `what's`; and its tokenizer takes a run of
//! Chinese characters for one word.
//!
//! Invariants: user text is never FTS syntax (every token is quoted, tokens are joined by OR); CJK
//! characters stand only in the bigram column, everything else only in the word columns, and a query is
//! split by the same rule.

/// Splits a text into what the word tokenizer reads and the bigrams of its CJK runs.
pub struct Columns {
    pub words: String,
    pub bigrams: String,
}

impl Columns {
    pub fn of(text: &str) -> Self {
        let mut words = String::with_capacity(text.len());
        let mut bigrams = String::new();
        let mut before: Option<char> = None;
        for c in text.chars() {
            if is_cjk(c) {
                if let Some(first) = before {
                    bigrams.extend([first, c, ' ']);
                } else {
                    // One separator for the run, so that the words around it stay apart.
                    words.push(' ');
                }
                before = Some(c);
            } else {
                end_run(&mut bigrams, &mut before);
                // What is a word is decided here alone: SQLite knows another edition of Unicode.
                words.push(if is_word(c) { c } else { ' ' });
            }
        }
        end_run(&mut bigrams, &mut before);
        Self { words, bigrams }
    }
}

/// The last character of a run also stands alone: with the bigrams before it, every character of the run
/// then begins a token, and a query of one character finds it by prefix.
fn end_run(bigrams: &mut String, before: &mut Option<char>) {
    if let Some(last) = before.take() {
        bigrams.extend([last, ' ']);
    }
}

/// The FTS5 expression for a user's text; `None` when it holds no letter and no digit.
pub fn expression(text: &str) -> Option<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut add = |token: String| {
        if seen.insert(token.clone()) {
            tokens.push(token);
        }
    };
    for word in text.split(|c: char| is_cjk(c) || !is_word(c)).filter(|w| !w.is_empty()) {
        add(format!("\"{word}\""));
    }
    for run in text.split(|c: char| !is_cjk(c)).filter(|r| !r.is_empty()) {
        let run: Vec<char> = run.chars().collect();
        match run.as_slice() {
            [only] => add(format!("\"{only}\"*")),
            longer => {
                for pair in longer.windows(2) {
                    add(format!("\"{}\"", pair.iter().collect::<String>()));
                }
            }
        }
    }
    if tokens.is_empty() { None } else { Some(tokens.join(" OR ")) }
}

/// Letters, digits, and the accents that follow a letter.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}')
}

/// Han, Hiragana, Katakana and Hangul: scripts whose words the tokenizer cannot tell apart.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11ff | 0x3005..=0x3007 | 0x3040..=0x309f | 0x30a1..=0x30fa | 0x30fc..=0x30ff
        | 0x3130..=0x318f | 0x31f0..=0x31ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7af
        | 0xf900..=0xfaff | 0xff66..=0xff9f | 0x20000..=0x2fa1f | 0x30000..=0x323af)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cjk_runs_become_bigrams_and_leave_the_words() {
        let columns = Columns::of("iPhone手机壳 is 好");
        assert_eq!(columns.words.split_whitespace().collect::<Vec<_>>(), ["iPhone", "is"]);
        assert_eq!(columns.bigrams, "手机 机壳 壳 好 ");
        assert_eq!(Columns::of("a\u{1cd00}b\0c").words, "a b c", "symbols and NUL part words");
    }

    #[test]
    fn user_text_is_quoted() {
        assert_eq!(expression("what's AND").unwrap(), "\"what\" OR \"s\" OR \"AND\"");
        assert_eq!(expression("北京大").unwrap(), "\"北京\" OR \"京大\"");
        assert_eq!(expression("京").unwrap(), "\"京\"*");
        assert_eq!(expression("\"*() -"), None);
    }
}
