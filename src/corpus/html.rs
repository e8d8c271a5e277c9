//! HTML: the title and the visible text.
//!
//! Why the tokenizer alone: it reads any input in one pass with bounded depth; the text needs no tree.
//!
//! Invariants: nothing inside `script`, `style`, `template`, `svg` and the like is text; what follows one of the
//! latter that is never closed is not lost.

use std::cell::RefCell;

use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, EndTag, StartTag, Tag, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::MAX_TITLE_BYTES;

/// Title and text of a page.
pub fn parse(page: String) -> (String, String) {
    let input = BufferQueue::default();
    input.push_back(page.into());
    let tokenizer = Tokenizer::new(Reader::default(), TokenizerOpts::default());
    // The only pause is at the end of a script, which is never run.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    let mut state = tokenizer.sink.state.into_inner();
    state.close();
    let title = if state.title.trim().is_empty() { state.heading } else { state.title };
    (title.trim().to_owned(), state.text.trim().to_owned())
}

#[derive(Default)]
struct Reader {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    title: String,
    /// The first `h1` that is short enough for a title, the title of pages that have none.
    heading: String,
    text: String,
    into: Into,
    /// Depth inside elements that are not shown.
    hidden: usize,
    /// Their text since the outermost began.
    aside: String,
    in_heading: bool,
    preformatted: usize,
}

/// Where characters go.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Into {
    #[default]
    Text,
    Title,
    Nowhere,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.state.borrow_mut();
        match token {
            Token::TagToken(tag) => match tag.kind {
                StartTag => return state.start(&tag),
                EndTag => state.end(&tag),
            },
            Token::CharacterTokens(text) => state.characters(&text),
            Token::DoctypeToken(_)
            | Token::CommentToken(_)
            | Token::NullCharacterToken
            | Token::EOFToken
            | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

impl State {
    fn start(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        match &*tag.name {
            "script" => return self.raw(Into::Nowhere, RawKind::ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" | "noscript" => {
                return self.raw(Into::Nowhere, RawKind::Rawtext);
            }
            "textarea" => return self.raw(Into::Nowhere, RawKind::Rcdata),
            // The first title of the page itself; a drawing has titles of its own.
            "title" if self.hidden == 0 && self.title.is_empty() => return self.raw(Into::Title, RawKind::Rcdata),
            "title" => return self.raw(Into::Nowhere, RawKind::Rcdata),
            "template" | "svg" | "math" | "select" if !tag.self_closing => {
                if self.hidden == 0 {
                    self.aside.clear();
                }
                self.hidden = self.hidden.saturating_add(1);
            }
            "pre" => self.preformatted = self.preformatted.saturating_add(1),
            "h1" if self.heading.is_empty() => self.in_heading = true,
            "br" => self.out().push('\n'),
            "td" | "th" => self.flow(" "),
            _ => {}
        }
        if is_block(&tag.name) {
            self.paragraph();
        }
        TokenSinkResult::Continue
    }

    fn end(&mut self, tag: &Tag) {
        match &*tag.name {
            "template" | "svg" | "math" | "select" => self.hidden = self.hidden.saturating_sub(1),
            "pre" => self.preformatted = self.preformatted.saturating_sub(1),
            "h1" => self.in_heading = false,
            _ => {}
        }
        self.into = Into::Text;
        if is_block(&tag.name) {
            self.paragraph();
        }
    }

    fn raw(&mut self, into: Into, kind: RawKind) -> TokenSinkResult<()> {
        self.into = into;
        TokenSinkResult::RawData(kind)
    }

    fn characters(&mut self, text: &str) {
        match self.into {
            Into::Title => self.title.push_str(text),
            Into::Text => {
                if self.in_heading && self.hidden == 0 {
                    self.heading.push_str(text);
                    // One that was never closed would take in the rest of the page; its words are text anyway.
                    if self.heading.len() > MAX_TITLE_BYTES {
                        self.heading.clear();
                        self.in_heading = false;
                    }
                }
                if self.preformatted > 0 {
                    self.out().push_str(text);
                } else {
                    self.flow(text);
                }
            }
            Into::Nowhere => {}
        }
    }

    /// Where text goes now.
    fn out(&mut self) -> &mut String {
        if self.hidden == 0 { &mut self.text } else { &mut self.aside }
    }

    /// The end of the page. An element that was never closed hides nothing: a stray `<svg>` would hide the rest.
    fn close(&mut self) {
        if self.hidden > 0 {
            self.hidden = 0;
            self.into = Into::Text;
            self.paragraph();
            let aside = std::mem::take(&mut self.aside);
            self.text.push_str(&aside);
        }
    }

    /// White space of running text is one blank.
    fn flow(&mut self, text: &str) {
        let out = self.out();
        for c in text.chars() {
            if !c.is_whitespace() {
                out.push(c);
            } else if !out.is_empty() && !out.ends_with([' ', '\n']) {
                out.push(' ');
            }
        }
    }

    /// An empty line, unless there is one.
    fn paragraph(&mut self) {
        if self.into == Into::Text {
            let out = self.out();
            let length = out.trim_end().len();
            out.truncate(length);
            if length > 0 {
                out.push_str("\n\n");
            }
        }
    }
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "dd"
            | "details"
            | "dialog"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "head"
            | "header"
            | "hr"
            | "html"
            | "legend"
            | "li"
            | "main"
            | "nav"
            | "ol"
            | "option"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "tfoot"
            | "thead"
            | "tr"
            | "ul"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(page: &str) -> (String, String) {
        parse(page.to_owned())
    }

    #[test]
    fn title_and_visible_text() {
        let page = "<!DOCTYPE html><html><head><title>A &amp; B</title><style>p{x:y}</style>\
            <script>var a = '<p>no</p>';</script></head><body><h1>Head</h1><p>One  two<br>three</p>\n\
            <svg><title>drawn</title><text>no</text></svg><ul><li>x<li>y</ul><noscript>no</noscript>\
            <table><tr><td>1</td><td>2</td></tr></table><pre>a\n  b</pre><textarea>no</textarea>end</body>";
        let (title, text) = read(page);
        assert_eq!(title, "A & B");
        assert_eq!(text, "Head\n\nOne two\nthree\n\nx\n\ny\n\n1 2\n\na\n  b\n\nend");
    }

    #[test]
    fn the_first_heading_is_the_title_of_a_page_without() {
        assert_eq!(read("<h1>First <b>one</b></h1><h1>Second</h1>").0, "First one");
    }

    #[test]
    fn a_heading_too_long_for_a_title_is_text_alone() {
        let long = "long ".repeat(200);
        let (title, text) = read(&format!("<h1>{long}<p>body<h1>Second</h1>"));
        assert_eq!(title, "Second");
        assert_eq!(text, format!("{}\n\nbody\n\nSecond", long.trim()));
    }

    #[test]
    fn what_stands_behind_an_element_never_closed_is_not_lost() {
        for element in ["svg", "math", "select", "template"] {
            let page = format!("<p>before<{element}><b>in</b><p>after<table><td>1<td>2</table>");
            assert_eq!(read(&page).1, "before\n\nin\n\nafter\n\n1 2", "{element}");
            let closed = format!("<p>before<{element}><{element}>in</{element}></{element}><p>after");
            assert_eq!(read(&closed).1, "before\n\nafter", "{element}");
        }
    }

    #[test]
    fn broken_and_deep_pages_end() {
        assert_eq!(read("<p>a<script>never closed").1, "a");
        assert_eq!(read("<div>".repeat(200_000).as_str()).1, "");
        assert_eq!(read("a < b && c > d &notanentity; <").1, "a < b && c > d ¬anentity; <");
    }

    proptest::proptest! {
        #[test]
        fn any_input_ends(page in "([<>/a-z =\"'!-]|<script>|</script>|<!--|<title>|\\PC){0,80}") {
            read(&page);
        }
    }
}
