//! Markdown: the file's text, its title and the fields of its front matter.
//!
//! Front matter is a YAML mapping between two `---` lines at the very start. It is no text: its field named
//! by `mapping.title` is the title, its fields named by `mapping.metadata` are kept. Anything else between
//! such lines stays text (a `---` line is also a rule). Without a title there the first
//! heading is it that is short enough (a paragraph above a `---` line is a heading too).

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use serde_json::Value;

use super::{MAX_TITLE_BYTES, Mapping, jsonl};
use crate::metadata::Metadata;
use crate::yaml;

/// Title, text and metadata of a file.
pub fn parse(text: String, mapping: &Mapping) -> (String, String, Metadata) {
    let Some((fields, body)) = front_matter(&text) else {
        return (first_heading(&text).unwrap_or_default(), text, Metadata::new());
    };
    let title = match fields.get(&mapping.title) {
        Some(Value::String(title)) => Some(title.clone()),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => None,
    };
    // Lists such as `tags` are common in front matter and not asked for by every mapping.
    let scalar = |field: &str| fields.get(field).filter(|v| !v.is_array() && !v.is_object());
    let metadata = jsonl::select(mapping, scalar).unwrap_or_default();
    let title = title.or_else(|| first_heading(body)).unwrap_or_default();
    (title, body.to_owned(), metadata)
}

fn front_matter(text: &str) -> Option<(Metadata, &str)> {
    let rest = text.strip_prefix("---")?;
    let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'))?;
    let mut length = 0_usize;
    for line in rest.split_inclusive('\n') {
        let end = length.saturating_add(line.len());
        if matches!(line.trim_end(), "---" | "...") {
            let (matter, body) = (rest.get(..length)?, rest.get(end..)?);
            return yaml::read::<Metadata>(matter).ok().map(|fields| (fields, body));
        }
        length = end;
    }
    None
}

fn first_heading(text: &str) -> Option<String> {
    let mut heading: Option<String> = None;
    for event in Parser::new(text) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), None) => heading = Some(String::new()),
            (Event::Text(part) | Event::Code(part), Some(title)) => title.push_str(&part),
            (Event::SoftBreak | Event::HardBreak, Some(title)) => title.push(' '),
            (Event::End(TagEnd::Heading(_)), Some(title))
                if !title.trim().is_empty() && title.len() <= MAX_TITLE_BYTES =>
            {
                return heading;
            }
            (Event::End(TagEnd::Heading(_)), Some(_)) => heading = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping { metadata: vec!["team".into(), "tags".into()], ..Mapping::default() }
    }

    #[test]
    fn the_title_is_the_first_heading_with_text() {
        let (title, text, _) = parse("intro\n\n#\n\nThe *real* `title`\n====\n\n# Other".into(), &mapping());
        assert_eq!(title, "The real title");
        assert!(text.starts_with("intro"));
        assert_eq!(parse("no heading".into(), &mapping()).0, "");
        let paragraph = format!("{}\n---\n\n# Short", "a paragraph above a rule ".repeat(40));
        assert_eq!(parse(paragraph.clone(), &mapping()), ("Short".into(), paragraph, Metadata::new()));
    }

    #[test]
    fn front_matter_gives_title_and_metadata_and_is_no_text() {
        let file = "---\r\ntitle: From above\r\nteam: core\r\ntags: [a, b]\r\n---\r\n# Heading\r\nBody";
        let (title, text, metadata) = parse(file.into(), &mapping());
        assert_eq!((title.as_str(), text.as_str()), ("From above", "# Heading\r\nBody"));
        assert_eq!(serde_json::Value::Object(metadata), serde_json::json!({"team": "core"}));
    }

    #[test]
    fn a_rule_at_the_start_is_text() {
        for file in ["---\nnot a mapping\n---\nx", "---\nkey: value\nno end", "---x\na: b\n---\n"] {
            assert_eq!(parse(file.into(), &mapping()).1, file);
        }
    }
}
