use proptest::prelude::*;

use super::super::service::{CONNECTION_MANAGER, CONTENT_DIRECTORY, SERVICES};
use super::*;

fn envelope(inner: &str) -> String {
    format!("<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"{ENVELOPE}\"><s:Body>{inner}</s:Body></s:Envelope>")
}

const KIND: &str = "urn:schemas-upnp-org:service:ContentDirectory:1";
const BROWSE: &str = "<ObjectID>0</ObjectID><BrowseFlag>BrowseMetadata</BrowseFlag><Filter>*</Filter>\
                      <StartingIndex>0</StartingIndex><RequestedCount>7</RequestedCount><SortCriteria></SortCriteria>";

fn browse(arguments: &str) -> Result<Call, Refused> {
    let body = envelope(&format!("<u:Browse xmlns:u=\"{KIND}\">{arguments}</u:Browse>"));
    Call::read(&CONTENT_DIRECTORY, &format!("\"{KIND}#Browse\""), body.as_bytes())
}

fn code(refused: Result<Call, Refused>) -> u16 {
    match refused.expect_err("it is refused") {
        Refused::NoCall(_) => 0,
        Refused::Fault(fault) => fault.code,
    }
}

#[test]
fn a_call_is_read_whatever_the_order_of_its_arguments() {
    let call = browse(BROWSE).unwrap();
    assert_eq!((call.text("ObjectID"), call.number("RequestedCount"), call.text("SortCriteria")), ("0", 7, ""));
    let (first, rest) = BROWSE.split_at(BROWSE.find("<Filter>").unwrap());
    assert_eq!(browse(&format!("{rest}{first}")).unwrap().text("BrowseFlag"), "BrowseMetadata");
}

#[test]
fn wrong_arguments_have_their_codes() {
    for (from, to, expected) in [
        ("<Filter>*</Filter>", "", 402),
        ("<Filter>*</Filter>", "<Filter>*</Filter><Filter>*</Filter>", 402),
        ("<Filter>*</Filter>", "<Filter>*</Filter><More/>", 402),
        ("BrowseMetadata", "BrowseNothing", 600),
        ("<StartingIndex>0", "<StartingIndex>-1", 402),
        ("<StartingIndex>0", "<StartingIndex>+1", 402),
        ("<StartingIndex>0", "<StartingIndex>x", 402),
        ("<StartingIndex>0", "<StartingIndex>", 402),
        ("<StartingIndex>0", "<StartingIndex>4294967296", 402),
        ("<ObjectID>0", &format!("<ObjectID>{}", "0".repeat(9000)), 605),
    ] {
        assert_eq!(code(browse(&BROWSE.replace(from, to))), expected, "{to}");
    }
}

#[test]
fn header_service_and_body_must_agree() {
    let body = envelope(&format!("<u:GetSystemUpdateID xmlns:u=\"{KIND}\"/>"));
    let read = |service, header: &str, body: &str| Call::read(service, header, body.as_bytes());
    let header = format!("\"{KIND}#GetSystemUpdateID\"");
    assert!(read(&CONTENT_DIRECTORY, &header, &body).is_ok());
    assert_eq!(code(read(&CONNECTION_MANAGER, &header, &body)), 401);
    assert_eq!(code(read(&CONTENT_DIRECTORY, &format!("\"{KIND}#Browse\""), &body)), 401);
    assert_eq!(code(read(&CONTENT_DIRECTORY, &header, &body.replace(KIND, "urn:other"))), 401);
    assert_eq!(
        code(read(&CONTENT_DIRECTORY, &format!("\"{KIND}#Nothing\""), &body.replace("GetSystemUpdateID", "Nothing"))),
        401
    );
    assert_eq!(code(read(&CONTENT_DIRECTORY, header.trim_matches('"'), &body)), 0);
    assert_eq!(code(read(&CONTENT_DIRECTORY, "", &body)), 0);
    assert_eq!(code(read(&CONTENT_DIRECTORY, &header, &envelope(""))), 0);
    assert_eq!(code(read(&CONTENT_DIRECTORY, &header, &body.replace(ENVELOPE, "urn:x"))), 0);
}

#[test]
fn an_answer_has_all_arguments_in_their_order_and_escapes_them() {
    let body = envelope(&format!("<u:Browse xmlns:u=\"{KIND}\">{BROWSE}</u:Browse>"));
    let call = Call::read(&CONTENT_DIRECTORY, &format!("\"{KIND}#Browse\""), body.as_bytes()).unwrap();
    let text = call.answer(&CONTENT_DIRECTORY, &["<DIDL-Lite>&amp;]]></DIDL-Lite>", "1", "1", "9"].map(str::to_owned));
    let root = xml::read(text.as_bytes()).unwrap();
    let response = &root.child("Body").unwrap().children[0];
    assert_eq!((response.name.as_str(), response.namespace.as_str()), ("BrowseResponse", KIND));
    let names: Vec<_> = response.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["Result", "NumberReturned", "TotalMatches", "UpdateID"]);
    assert_eq!(response.children[0].text, "<DIDL-Lite>&amp;]]></DIDL-Lite>");
    assert!(response.children.iter().all(|child| child.namespace.is_empty()));
}

#[test]
fn a_fault_says_its_code_where_control_points_look_for_it() {
    let root = xml::read(Fault::new(701, "No such <object>").write().as_bytes()).unwrap();
    let fault = root.child("Body").unwrap().child("Fault").unwrap();
    assert_eq!(fault.text_of("faultstring"), Some("UPnPError"));
    let error = fault.child("detail").unwrap().child("UPnPError").unwrap();
    assert_eq!(error.namespace, "urn:schemas-upnp-org:control-1-0");
    assert_eq!(
        (error.text_of("errorCode"), error.text_of("errorDescription")),
        (Some("701"), Some("No such <object>"))
    );
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for service in SERVICES {
            prop_assert!(Call::read(service, "\"a#b\"", &bytes).is_err());
        }
    }

    #[test]
    fn no_mangled_call_makes_the_reader_fall_over(inner in "(</?[a-z:]{0,8}( [a-z]{0,6}='[^']{0,5}')?/?>|&[a-z#0-9]{0,6};|[<>&]|<!\\[CDATA\\[|\\]\\]>|[ -~]{0,8}){0,12}") {
        let _ = browse(&inner);
    }
}
