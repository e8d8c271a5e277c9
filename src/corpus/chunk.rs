//! Cutting a document into chunks.
//!
//! Invariants: every character that is not white space is in some chunk; no chunk but that of
//! [`Strategy::None`] has more than `max_tokens` (what is embedded is longer by the title, which is bounded on
//! its own); neighbours share at most `overlap_tokens` (white space at the ends not counted); chunks come in
//! order and are parts of the text as it is.

use text_splitter::{ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

/// How documents are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Paragraphs, then sentences, words, characters.
    Recursive,
    /// Headings first.
    Markdown,
    /// By length alone.
    Fixed,
    /// A document is one chunk.
    None,
}

/// How documents are cut, and how small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    pub strategy: Strategy,
    pub max_tokens: usize,
    pub overlap_tokens: usize,
}

/// Why documents cannot be cut like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChunking {
    #[error("chunking.maxTokens is {0}; write 16 to 8192")]
    MaxTokens(usize),
    #[error("chunking.overlapTokens is {overlap}; it must be smaller than maxTokens ({max})")]
    Overlap { overlap: usize, max: usize },
}

/// Cuts documents.
pub enum Chunker {
    Recursive(Box<TextSplitter<Approximate>>),
    Markdown(Box<MarkdownSplitter<Approximate>>),
    Fixed { max_tokens: usize, overlap_tokens: usize },
    None,
}

/// The approximate token count as text-splitter asks for it.
pub struct Approximate;

impl ChunkSizer for Approximate {
    fn size(&self, chunk: &str) -> usize {
        approximate_tokens(chunk)
    }
}

/// Quarters of a token that a byte stands for: text of one or two bytes a character has 4 bytes a token,
/// a character of three bytes or more (CJK, Thai, emoji) is a token by itself.
const fn quarters(byte: u8) -> usize {
    match byte {
        0x00..=0x7f => 1,
        0x80..=0xbf => 0,
        0xc0..=0xdf => 2,
        0xe0..=0xff => 4,
    }
}

/// About how many tokens a text has.
pub fn approximate_tokens(text: &str) -> usize {
    text.bytes().map(quarters).sum::<usize>().div_ceil(4)
}

impl Chunker {
    pub fn new(chunking: Chunking) -> Result<Self, BadChunking> {
        let Chunking { strategy, max_tokens, overlap_tokens } = chunking;
        if !(16..=8192).contains(&max_tokens) {
            return Err(BadChunking::MaxTokens(max_tokens));
        }
        let bad = BadChunking::Overlap { overlap: overlap_tokens, max: max_tokens };
        if overlap_tokens >= max_tokens {
            return Err(bad);
        }
        let config = ChunkConfig::new(max_tokens).with_sizer(Approximate).with_overlap(overlap_tokens);
        let config = config.map_err(|_| bad)?;
        Ok(match strategy {
            Strategy::Recursive => Self::Recursive(Box::new(TextSplitter::new(config))),
            Strategy::Markdown => Self::Markdown(Box::new(MarkdownSplitter::new(config))),
            Strategy::Fixed => Self::Fixed { max_tokens, overlap_tokens },
            Strategy::None => Self::None,
        })
    }

    /// The chunks of a text; none for a text of white space.
    pub fn chunks<'a>(&self, text: &'a str) -> Vec<&'a str> {
        match self {
            Self::Recursive(splitter) => distinct(splitter.chunk_indices(text)),
            Self::Markdown(splitter) => distinct(splitter.chunk_indices(text)),
            Self::Fixed { max_tokens, overlap_tokens } => fixed(text, *max_tokens, *overlap_tokens),
            Self::None => Some(text.trim()).filter(|whole| !whole.is_empty()).into_iter().collect(),
        }
    }
}

/// Drops chunks of white space and chunks that lie inside a neighbour, which an overlap can give.
fn distinct<'a>(chunks: impl Iterator<Item = (usize, &'a str)>) -> Vec<&'a str> {
    let end = |start: usize, chunk: &str| start.saturating_add(chunk.len());
    let mut kept: Vec<(usize, &str)> = Vec::new();
    for (start, chunk) in chunks {
        if chunk.trim().is_empty() || kept.last().is_some_and(|(s, c)| end(start, chunk) <= end(*s, c)) {
            continue;
        }
        if kept.last().is_some_and(|(s, _)| start <= *s) {
            kept.pop();
        }
        kept.push((start, chunk));
    }
    kept.into_iter().map(|(_, chunk)| chunk).collect()
}

/// Windows of at most `max_tokens`; each begins `overlap_tokens` or a little less before the last one's end.
fn fixed(text: &str, max_tokens: usize, overlap_tokens: usize) -> Vec<&str> {
    let mut windows = Vec::new();
    let (mut start, mut covered) = (0, 0);
    while let Some(rest) = text.get(start..).filter(|rest| !rest.trim_start().is_empty()) {
        // A window never begins with white space, so it begins behind the last one's begin.
        let ragged = rest.len();
        let rest = rest.trim_start();
        start = start.saturating_add(ragged.saturating_sub(rest.len()));
        let length = fitting(rest.chars(), max_tokens);
        let window = rest.get(..length).unwrap_or(rest);
        let end = start.saturating_add(window.trim_end().len());
        // A window that adds nothing but white space is none.
        if end > covered {
            windows.push(window.trim_end());
            covered = end;
        }
        if length >= rest.len() {
            break;
        }
        // The overlap is whole characters too, so a step is at least one character.
        let shared = fitting(window.chars().rev(), overlap_tokens);
        let step = length.saturating_sub(shared).max(window.chars().next().map_or(1, char::len_utf8));
        start = start.saturating_add(step);
    }
    windows
}

/// Bytes of the first characters that fit into so many tokens.
fn fitting(characters: impl Iterator<Item = char>, tokens: usize) -> usize {
    let most = tokens.saturating_mul(4);
    let (mut bytes, mut sum) = (0_usize, 0_usize);
    for c in characters {
        let mut buffer = [0; 4];
        sum = sum.saturating_add(c.encode_utf8(&mut buffer).bytes().map(quarters).sum());
        if sum > most {
            break;
        }
        bytes = bytes.saturating_add(c.len_utf8());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_oneof, proptest};
    use proptest::strategy::Strategy as Generator;

    use super::*;

    fn chunker(strategy: Strategy, max_tokens: usize, overlap_tokens: usize) -> Chunker {
        Chunker::new(Chunking { strategy, max_tokens, overlap_tokens }).unwrap()
    }

    #[test]
    fn tokens_are_four_bytes_or_one_wide_character() {
        for (text, tokens) in [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("日本語", 3), ("日a", 2), ("éé", 1)]
        {
            assert_eq!(approximate_tokens(text), tokens, "{text}");
        }
    }

    #[test]
    fn bounds_are_checked() {
        let new = |max_tokens, overlap_tokens| {
            Chunker::new(Chunking { strategy: Strategy::Fixed, max_tokens, overlap_tokens }).err()
        };
        assert_eq!(new(15, 0), Some(BadChunking::MaxTokens(15)));
        assert_eq!(new(16, 16), Some(BadChunking::Overlap { overlap: 16, max: 16 }));
        assert_eq!(new(16, 15), None);
    }

    #[test]
    fn structure_is_kept() {
        let text = format!("# One\n\n{}\n\n# Two\n\n{}", "alpha beta. ".repeat(8), "gamma delta. ".repeat(8));
        let chunks = chunker(Strategy::Markdown, 40, 0).chunks(&text);
        assert!(chunks.iter().any(|c| c.starts_with("# Two")), "{chunks:?}");
        assert_eq!(chunker(Strategy::None, 16, 0).chunks(" whole text "), ["whole text"]);
        assert!(chunker(Strategy::None, 16, 0).chunks(" \n ").is_empty());
    }

    #[test]
    fn fixed_windows_share_exactly_the_overlap_where_characters_allow() {
        let text = "abcd".repeat(50);
        let chunks = chunker(Strategy::Fixed, 16, 4).chunks(&text);
        assert!(chunks.iter().take(3).all(|c| c.len() == 64), "{chunks:?}");
        assert_eq!(chunks.len(), 4);
    }

    fn texts() -> impl Generator<Value = String> {
        prop::collection::vec(
            prop_oneof![
                4 => "[a-zA-Z]{1,9}( |, |\\. |\n\n|\n)",
                1 => "(# |## |- |> |```\n|\\| )[a-z]{0,6}\n",
                1 => "[日本語中文字]{1,12}",
                1 => "\\PC{1,8}",
                1 => "[ \t\n]{1,4}",
            ],
            0..60,
        )
        .prop_map(|parts| parts.concat())
    }
    /// Offset of a chunk in its text.
    fn at(text: &str, chunk: &str) -> usize {
        chunk.as_ptr() as usize - text.as_ptr() as usize
    }

    proptest! {
        #[test]
        fn chunks_cover_the_text_within_their_bounds(
            text in texts(), max in 16_usize..64, share in 0_usize..16, pick in 0_usize..4,
        ) {
            let strategy = [Strategy::Recursive, Strategy::Markdown, Strategy::Fixed, Strategy::None][pick];
            let chunks = chunker(strategy, max, share).chunks(&text);
            let mut covered = vec![false; text.len()];
            let mut last: Option<(usize, usize)> = None;
            for chunk in &chunks {
                let (start, end) = (at(&text, chunk), at(&text, chunk) + chunk.len());
                covered[start..end].fill(true);
                prop_assert!(strategy == Strategy::None || approximate_tokens(chunk) <= max, "{chunk:?}");
                if let Some((last_start, last_end)) = last {
                    prop_assert!(start > last_start && end > last_end, "in order: {chunks:?}");
                    let shared = text.get(start..last_end).unwrap_or("").trim();
                    prop_assert!(approximate_tokens(shared) <= share, "{shared:?} is shared");
                }
                last = Some((start, end));
            }
            for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
                prop_assert!(covered[at], "{c:?} at {at} is in no chunk of {chunks:?}");
            }
        }
    }
}
