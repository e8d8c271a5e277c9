//! Foreign text and numbers as HTML.
//!
//! Invariant: nothing that comes out of here can end an element or begin one, and no character in it can turn the
//! direction of what stands around it.

/// A text as HTML, at most so many characters of it.
pub fn shown(text: &str, characters: usize) -> String {
    let mut out = String::with_capacity(text.len().min(characters.saturating_mul(2)));
    for c in text.chars().take(characters) {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() || turns(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    if text.chars().nth(characters).is_some() {
        out.push('…');
    }
    out
}

/// Characters at the end of a name that stay when it is cut: a `~` and eight digits of a digest.
const TAIL: usize = 9;

/// Characters that change the direction of other text: an id with one of them could look like another id.
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An id or a name, kept apart from the direction of its surroundings.
/// A long one keeps its end: names that were cut to fit a receipt differ there alone.
pub fn name(text: &str, characters: usize) -> String {
    let length = text.chars().count();
    if length <= characters || characters <= TAIL {
        return format!("<bdi>{}</bdi>", shown(text, characters));
    }
    // `shown` puts the dots.
    let end: String = text.chars().skip(length.saturating_sub(TAIL)).collect();
    format!("<bdi>{}{}</bdi>", shown(text, characters.saturating_sub(TAIL)), shown(&end, TAIL))
}

/// Four decimals, with a true minus.
pub fn mean(x: f64) -> String {
    format!("{x:.4}").replace('-', "−")
}

/// Four decimals with a sign; nothing is no sign.
pub fn change(x: f64) -> String {
    let text = format!("{x:+.4}");
    if text == "-0.0000" || text == "+0.0000" { "0.0000".to_owned() } else { text.replace('-', "−") }
}

/// What does not apply.
pub const NONE: &str = "<span class=\"none\">–</span>";

/// A number, or a dash.
pub fn or_none(x: Option<f64>, form: impl Fn(f64) -> String) -> String {
    x.map_or_else(|| NONE.to_owned(), form)
}

/// A count with thin spaces between thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    digits.chars().enumerate().fold(String::new(), |mut out, (i, digit)| {
        if i > 0 && i % 3 == first {
            out.push('\u{202f}');
        }
        out.push(digit);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_only_text() {
        assert_eq!(shown("<b>\"&'\u{0}\u{202e}x\n", 99), "&lt;b&gt;&quot;&amp;&#39;\u{fffd}\u{fffd}x ");
        assert_eq!(shown("abc", 2), "ab…");
        assert_eq!(shown("ab", 2), "ab");
    }

    #[test]
    fn long_names_keep_their_ends() {
        let (a, b) = (format!("{}~dc02b98f", "x".repeat(90)), format!("{}~b7a9d1c7", "x".repeat(90)));
        assert_eq!(name(&a, 20), "<bdi>xxxxxxxxxxx…~dc02b98f</bdi>");
        assert_ne!(name(&a, 40), name(&b, 40));
        assert_eq!(name("abcdefghijkl", 12), "<bdi>abcdefghijkl</bdi>");
    }

    #[test]
    fn numbers_are_typeset() {
        assert_eq!(
            (change(-0.05), change(0.00001), change(-0.00001)),
            ("−0.0500".into(), "0.0000".into(), "0.0000".into())
        );
        assert_eq!(
            (count(7), count(123), count(1234), count(1_234_567)),
            ("7".into(), "123".into(), "1\u{202f}234".into(), "1\u{202f}234\u{202f}567".into())
        );
    }
}
