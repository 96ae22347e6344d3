//! Makes text from outside harmless and visible on a terminal: nothing in it moves the cursor, changes colours,
//! turns the writing direction or hides. Escaping what is escaped changes nothing.

use std::borrow::Cow;
use std::cmp::Ordering::{Equal, Greater, Less};
use std::fmt::Write;

/// For text inside a line: line ends are escaped, too.
pub fn escape_line(text: &str) -> Cow<'_, str> {
    escape_all_but(text, |_| false)
}

/// For text of several lines: line feeds stay.
pub fn escape_block(text: &str) -> Cow<'_, str> {
    escape_all_but(text, |c| c == '\n')
}

/// Escapes like [`escape_line`] and cuts to at most `chars` characters, the last of them `…` if something is missing.
pub fn shorten(text: &str, chars: usize) -> String {
    let mut whole = String::new();
    // What fits together with the `…`, and how many characters the whole has so far.
    let (mut fitting, mut width) = (0, 0);
    for c in text.chars() {
        let from = whole.len();
        push_visible(&mut whole, c);
        width += whole[from..].chars().count();
        if width < chars {
            fitting = whole.len();
        }
        if width > chars {
            whole.truncate(fitting);
            if chars > 0 {
                whole.push('…');
            }
            break;
        }
    }
    whole
}

/// Keeps JSON the same value, and writes what a terminal must not get in `\u` escapes: the serializer leaves all but
/// C0 as it is, and what is left can only be inside of strings.
pub(super) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn escape_all_but(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(|c| is_unsafe(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if stays(c) {
            escaped.push(c);
        } else {
            push_visible(&mut escaped, c);
        }
    }
    Cow::Owned(escaped)
}

fn push_visible(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if is_unsafe(c) => text.extend(c.escape_unicode()),
        c => text.push(c),
    }
}

fn is_unsafe(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // The last two of each plane are no characters (Unicode 23.7).
    u32::from(c) & 0xFFFE == 0xFFFE
        || UNSAFE
            .binary_search_by(|&(first, last)| {
                if last < c {
                    Less
                } else if c < first {
                    Greater
                } else {
                    Equal
                }
            })
            .is_ok()
}

/// Beyond ASCII, first and last: controls (Cc), format characters (Cf), line and paragraph separators, whatever
/// Unicode calls `Default_Ignorable_Code_Point`, the blank braille pattern, and noncharacters. Sorted.
const UNSAFE: [(char, char); 30] = [
    ('\u{80}', '\u{9F}'),
    ('\u{AD}', '\u{AD}'),
    ('\u{34F}', '\u{34F}'),
    ('\u{600}', '\u{605}'),
    ('\u{61C}', '\u{61C}'),
    ('\u{6DD}', '\u{6DD}'),
    ('\u{70F}', '\u{70F}'),
    ('\u{890}', '\u{891}'),
    ('\u{8E2}', '\u{8E2}'),
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{2028}', '\u{202E}'),
    ('\u{2060}', '\u{206F}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{FDD0}', '\u{FDEF}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFFB}'),
    ('\u{110BD}', '\u{110BD}'),
    ('\u{110CD}', '\u{110CD}'),
    ('\u{13430}', '\u{1343F}'),
    ('\u{16FE4}', '\u{16FE4}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D159}', '\u{1D159}'),
    ('\u{1D173}', '\u{1D17A}'),
    ('\u{E0000}', '\u{E0FFF}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &[(&str, &str)] = &[
        ("\u{1b}[31mred\u{1b}[0m", r"\u{1b}[31mred\u{1b}[0m"),
        ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
        ("\u{1b}]8;;http://evil\u{1b}\\click", "\\u{1b}]8;;http://evil\\u{1b}\\click"),
        ("\u{9b}2J\u{90}q\u{9c}", r"\u{9b}2J\u{90}q\u{9c}"),
        ("a\0b\u{8}\u{7f}", r"a\u{0}b\u{8}\u{7f}"),
        ("ok\r\nerror: fake", r"ok\r\nerror: fake"),
        ("tab\tbed", r"tab\tbed"),
        ("gpj.\u{202e}exe", r"gpj.\u{202e}exe"),
        ("\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}", r"\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}"),
        ("pay\u{200b}pal\u{200c}\u{200d}\u{feff}\u{2060}", r"pay\u{200b}pal\u{200c}\u{200d}\u{feff}\u{2060}"),
        ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
        ("soft\u{ad}hyphen\u{3164}\u{2800}", r"soft\u{ad}hyphen\u{3164}\u{2800}"),
        ("tag\u{e0041}\u{fe0f}\u{e0100}", r"tag\u{e0041}\u{fe0f}\u{e0100}"),
        ("\u{fffe}\u{10ffff}", r"\u{fffe}\u{10ffff}"),
    ];

    #[test]
    fn nothing_nasty_gets_through_and_escaping_twice_changes_nothing() {
        for (nasty, escaped) in NASTY {
            assert_eq!(escape_line(nasty), *escaped);
            assert_eq!(escape_line(escaped), *escaped);
        }
        for c in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').chain('\u{80}'..='\u{9f}') {
            assert_eq!(escape_line(&c.to_string()), c.escape_unicode().to_string());
        }
    }

    #[test]
    fn every_control_is_escaped_and_ordinary_writing_is_not_touched() {
        for c in (0..=0x10_FFFF).filter_map(char::from_u32) {
            assert!(!c.is_control() || is_unsafe(c), "{c:?}");
        }
        for plain in
            ["", "Grüße, “Welt” — 3 × 4", "日本語\u{3000}テスト", "שלום", "مرحبا", "e\u{301}", "🦀", r"C:\u{41}"]
        {
            assert!(matches!(escape_line(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(UNSAFE.iter().all(|(first, last)| first <= last));
        assert!(UNSAFE.windows(2).all(|two| two[0].1 < two[1].0));
    }

    #[test]
    fn a_block_keeps_its_line_feeds_and_nothing_else() {
        assert_eq!(escape_block("one\ntwo\r\n\u{1b}three"), "one\ntwo\\r\n\\u{1b}three");
        assert!(matches!(escape_block("one\ntwo"), Cow::Borrowed(_)));
    }

    #[test]
    fn shortening_counts_what_is_shown_and_never_cuts_an_escape() {
        assert_eq!(shorten("watcher", 7), "watcher");
        assert_eq!(shorten("watchers", 7), "watche…");
        assert_eq!(shorten("ab\u{1b}cd", 6), "ab…");
        assert_eq!(shorten("a\nb", 4), r"a\nb");
        assert_eq!(shorten("日本語", 2), "日…");
        assert_eq!((shorten("ab", 1), shorten("ab", 0)), ("…".into(), String::new()));
    }

    #[test]
    fn json_stays_the_same_value_without_anything_unsafe() {
        for (nasty, _) in NASTY {
            let json = serde_json::to_string(nasty).unwrap();
            let escaped = escape_json(&json);
            assert!(!escaped.contains(is_unsafe), "{escaped}");
            assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), *nasty);
        }
    }
}
