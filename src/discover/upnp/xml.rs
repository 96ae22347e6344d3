//! XML as UPnP needs it: a reader for small documents from strangers, and the escaping for what is written.
//!
//! There is no DTD, so no entity but the five that every document has; everything has a limit, and none of them is
//! checked by doing the work first.

use std::borrow::Cow;

use quick_xml::NsReader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;

/// Elements within elements.
const MAX_DEPTH: usize = 32;
/// Elements of a document.
const MAX_ELEMENTS: usize = 1024;
/// Attributes of one element, namespaces among them.
const MAX_ATTRIBUTES: usize = 32;

/// An element with its namespace resolved. Attributes are not kept: nothing that is read here has a meaning in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Empty where there is none.
    pub namespace: String,
    /// Without prefix.
    pub name: String,
    /// All text directly in it.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
    /// The trimmed text of the first child of this name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

/// Reads a document: its root element. The caller limits its length.
///
/// # Errors
/// A few words on what is wrong with it.
pub fn read(document: &[u8]) -> Result<Element, &'static str> {
    let text = std::str::from_utf8(document).map_err(|_| "it is not UTF-8")?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    // Innermost last; the first one is the document itself.
    let mut open = vec![Element::default()];
    let mut elements = 0;
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| "it is not well-formed")?;
        match event {
            Event::Start(start) => {
                let element = begin(&namespace, &start, open.len(), &mut elements)?;
                open.push(element);
            }
            Event::Empty(start) => {
                let element = begin(&namespace, &start, open.len(), &mut elements)?;
                innermost(&mut open)?.children.push(element);
            }
            Event::End(_) => {
                let done = open.pop().ok_or("it is not well-formed")?;
                innermost(&mut open)?.children.push(done);
            }
            Event::Text(text) => innermost(&mut open)?.text.push_str(&text.xml10_content()),
            Event::CData(text) => innermost(&mut open)?.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => innermost(&mut open)?.text.push_str(&resolve(&reference)?),
            Event::DocType(_) => return Err("it has a document type declaration, which is never read"),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let mut document = open.pop().filter(|_| open.is_empty()).ok_or("an element is not closed")?;
    match (document.children.pop(), document.children.is_empty(), document.text.trim().is_empty()) {
        (Some(root), true, true) => Ok(root),
        _ => Err("it has not exactly one root element"),
    }
}

fn innermost(open: &mut [Element]) -> Result<&mut Element, &'static str> {
    open.last_mut().ok_or("it is not well-formed")
}

fn begin(
    namespace: &ResolveResult<'_>,
    start: &BytesStart<'_>,
    depth: usize,
    elements: &mut usize,
) -> Result<Element, &'static str> {
    *elements += 1;
    if *elements > MAX_ELEMENTS || depth > MAX_DEPTH {
        return Err("it has too many elements, or they are too deep");
    }
    // Looking for repeated attributes takes the square of their number: they are counted before.
    let count = start.attributes().with_checks(false).take(MAX_ATTRIBUTES + 1).count();
    if count > MAX_ATTRIBUTES {
        return Err("an element has too many attributes");
    }
    if start.attributes().any(|attribute| attribute.is_err()) {
        return Err("an element's attributes are not well-formed");
    }
    let namespace = match namespace {
        ResolveResult::Bound(namespace) => namespace.into_inner().to_owned(),
        ResolveResult::Unbound => String::new(),
        ResolveResult::Unknown(_) => return Err("a prefix is bound to no namespace"),
    };
    let name = start.local_name().into_inner().to_owned();
    Ok(Element { namespace, name, ..Element::default() })
}

/// A character by its number, or one of the five that every document has.
fn resolve(reference: &BytesRef<'_>) -> Result<Cow<'static, str>, &'static str> {
    const UNKNOWN: &str = "it refers to an entity that is none";
    if let Some(c) = reference.resolve_char_ref().map_err(|_| UNKNOWN)? {
        return if is_char(c) { Ok(Cow::Owned(c.to_string())) } else { Err(UNKNOWN) };
    }
    resolve_predefined_entity(&reference.xml10_content()).map(Cow::Borrowed).ok_or(UNKNOWN)
}

/// What XML 1.0 §2.2 calls a character.
fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// A text for an element or an attribute. What no XML document can hold is left out.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().filter(|c| is_char(*c)) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\r' => escaped.push_str("&#13;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Appends `<NAME>text</NAME>`.
pub fn leaf(into: &mut String, name: &str, text: &str) {
    into.push('<');
    into.push_str(name);
    into.push('>');
    into.push_str(&escape(text));
    into.push_str("</");
    into.push_str(name);
    into.push('>');
}

/// What every document begins with.
pub const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_with_its_namespaces_and_texts() {
        let root = read(
            b"<?xml version=\"1.0\"?>\n<!-- c --><a:x xmlns:a='urn:a'><y>1 &amp; &#50;</y><a:z/><![CDATA[<&]]></a:x>\n",
        )
        .unwrap();
        assert_eq!((root.namespace.as_str(), root.name.as_str(), root.text.as_str()), ("urn:a", "x", "<&"));
        assert_eq!(root.text_of("y"), Some("1 & 2"));
        assert_eq!(root.child("y").unwrap().namespace, "");
        assert_eq!(root.child("z").unwrap().namespace, "urn:a");
    }

    #[test]
    fn what_could_hurt_is_refused() {
        let attributes: String = (0..40).map(|n| format!(" a{n}='1'")).collect();
        for (document, why) in [
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".to_owned(), "document type"),
            ("<!DOCTYPE a><a/>".to_owned(), "document type"),
            ("<a>&b;</a>".to_owned(), "entity"),
            ("<a>&#0;</a>".to_owned(), "entity"),
            ("<a>".repeat(40) + &"</a>".repeat(40), "too deep"),
            (format!("<a>{}</a>", "<b/>".repeat(2000)), "too many elements"),
            (format!("<a{attributes}/>"), "too many attributes"),
            ("<a b='1' b='2'/>".to_owned(), "attributes"),
            ("<p:a/>".to_owned(), "prefix"),
            ("<a/><b/>".to_owned(), "one root"),
            ("".to_owned(), "one root"),
            ("<a>".to_owned(), "not closed"),
            ("<a></b>".to_owned(), "well-formed"),
            ("x<a/>".to_owned(), "one root"),
        ] {
            let refused = read(document.as_bytes()).expect_err(&document);
            assert!(refused.contains(why), "{document}: {refused}");
        }
        assert!(read(b"\xff\xfe<\0a\0/\0>\0").is_err());
    }

    #[test]
    fn thirty_thousand_attributes_are_refused_at_once() {
        let attributes: String = (0..30_000).map(|n| format!(" a{n}=''")).collect();
        assert!(read(format!("<a{attributes}/>").as_bytes()).is_err());
        let namespaces: String = (0..10_000).map(|n| format!(" xmlns:a{n}='u'")).collect();
        assert!(read(format!("<a{namespaces}/>").as_bytes()).is_err());
    }

    #[test]
    fn what_is_escaped_reads_back_without_what_no_document_can_hold() {
        let text = "a]]> & <b> \"q\" 'p' \r\n\u{0}\u{1b}\u{fffe}é\u{1f600}";
        let kept = "a]]> & <b> \"q\" 'p' \r\né\u{1f600}";
        assert_eq!(read(format!("<a>{}</a>", escape(text)).as_bytes()).unwrap().text, kept);
    }
}
