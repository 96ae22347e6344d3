use std::sync::Arc;

use super::super::service::{CONTENT_DIRECTORY, DOWNLOAD_MANAGER, SERVICES};
use super::super::tree::testing::directory;
use super::super::xml;
use super::*;
use crate::model::Error;

const QUERY_REFUSED: &str = "“x” is no query";

/// Calls an action as a control point would: its arguments in the order of the table.
fn call(service: &Service, name: &str, arguments: &[&str]) -> Result<Vec<String>, u16> {
    let action = service.action(name).expect("the action is there");
    assert_eq!(arguments.len(), action.inputs.len(), "{name}");
    let mut inner = String::new();
    action.inputs.iter().zip(arguments).for_each(|((name, _), value)| xml::leaf(&mut inner, name, value));
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <u:{name} xmlns:u=\"{}\">{inner}</u:{name}></s:Body></s:Envelope>",
        service.kind
    );
    let call = Call::read(service, &format!("\"{}#{name}\"", service.kind), body.as_bytes()).expect("a call");
    let directory = directory();
    let query: Query = Arc::new(|text| match text {
        "x" => Err(Error::new(Code::BadInput, QUERY_REFUSED)),
        text => Ok(format!("{{\"asked\":{text}}}")),
    });
    let updates = Updates::new(7);
    let node = "192.0.2.1:4800".parse().unwrap();
    let view = View { directory: &directory, updates: &updates, node, query: &query };
    view.perform(service, &call).map_err(|fault| fault.code).inspect(|values| {
        assert_eq!(values.len(), action.outputs.len(), "{name}");
    })
}

fn browse(object: &str, flag: &str, start: &str, count: &str, sort: &str) -> Result<Vec<String>, u16> {
    call(&CONTENT_DIRECTORY, "Browse", &[object, flag, "*", start, count, sort])
}

fn titles(result: &str) -> Vec<String> {
    let root = xml::read(result.as_bytes()).expect("a document");
    root.children.iter().map(|one| one.text_of("title").expect("a title").to_owned()).collect()
}

#[test]
fn paging_by_ones_and_twos_gives_all_of_it_in_the_same_order() {
    let whole = browse("0", "BrowseDirectChildren", "0", "0", "").unwrap();
    assert_eq!((whole[1].as_str(), whole[2].as_str(), whole[3].as_str()), ("4", "4", "7"));
    for size in [1, 2, 3] {
        let mut paged = Vec::new();
        while paged.len() < 4 {
            let page = browse("0", "BrowseDirectChildren", &paged.len().to_string(), &size.to_string(), "").unwrap();
            assert_eq!(page[2], "4");
            paged.extend(titles(&page[0]));
        }
        assert_eq!(paged, titles(&whole[0]));
    }
    let beyond = browse("0", "BrowseDirectChildren", "99", "5", "").unwrap();
    assert_eq!((beyond[1].as_str(), beyond[2].as_str()), ("0", "4"));
    assert!(titles(&beyond[0]).is_empty());
}

#[test]
fn metadata_is_of_one_object() {
    let one = browse("p/chess", "BrowseMetadata", "0", "0", "").unwrap();
    assert_eq!((one[1].as_str(), one[2].as_str()), ("1", "1"));
    assert_eq!(titles(&one[0]), ["chess"]);
    assert_eq!(browse("p/chess", "BrowseMetadata", "1", "0", ""), Err(402));
}

#[test]
fn what_is_not_there_or_not_known_has_its_code() {
    assert_eq!(browse("p/nothing", "BrowseMetadata", "0", "0", ""), Err(701));
    assert_eq!(browse("", "BrowseDirectChildren", "0", "0", ""), Err(701));
    assert_eq!(browse("0", "BrowseDirectChildren", "0", "0", "dc:title"), Err(709));
    assert_eq!(browse("0", "BrowseDirectChildren", "0", "0", "+dc:nothing"), Err(709));
    let search = |container, criteria| call(&CONTENT_DIRECTORY, "Search", &[container, criteria, "*", "0", "0", ""]);
    assert_eq!(search("0", "dc:title like \"x\""), Err(708));
    assert_eq!(search("p/chess", "*"), Err(710));
    assert_eq!(search("nothing", "*"), Err(710));
    assert_eq!(search("c/games", "*").unwrap()[2], "4");
    assert_eq!(call(&CONNECTION_MANAGER, "GetCurrentConnectionInfo", &["7"]), Err(706));
    assert_eq!(call(&DOWNLOAD_MANAGER, "GetProgram", &["nothing"]), Err(701));
}

#[test]
fn the_program_directory_shows_a_platform_its_programs_and_answers_queries() {
    let browse = |platform| {
        let arguments = ["c/home", "BrowseDirectChildren", "*", "0", "0", "", platform];
        call(&PROGRAM_DIRECTORY, "Browse", &arguments).map(|values| values[2].clone())
    };
    assert_eq!(browse("linux-x86_64").unwrap(), "1");
    assert_eq!(browse("").unwrap(), "1");
    assert_eq!(browse("windows-x86_64"), Err(701));
    assert_eq!(browse("everything"), Err(600));
    assert_eq!(call(&PROGRAM_DIRECTORY, "Query", &["{}"]).unwrap(), ["{\"asked\":{}}"]);
    assert_eq!(call(&PROGRAM_DIRECTORY, "Query", &["x"]), Err(800));
}

#[test]
fn the_download_manager_says_where_the_bytes_really_are() {
    let there = call(&DOWNLOAD_MANAGER, "GetProgram", &["p/chess"]).unwrap();
    assert!(there[0].starts_with("deploy://") && there[0].ends_with("@192.0.2.1:4800"), "{there:?}");
    assert_eq!((there[1].as_str(), there[4].as_str()), ("1.2.0", "900"));
    assert_eq!(there[2], format!("https://192.0.2.1:4800/v1/packages/{}", there[3]));
    assert_eq!(call(&DOWNLOAD_MANAGER, "GetProgram", &["clock"]).unwrap()[2..], ["", "", ""]);
}

#[test]
fn a_change_is_counted_once_and_names_the_containers_that_it_is_in() {
    let before = directory();
    let mut updates = Updates::new(7);
    assert!(!updates.count(&before, &before));
    let mut after = before.clone();
    after.programs[0].version = "1.3.0".parse().unwrap();
    assert!(updates.count(&before, &after));
    assert_eq!((updates.system, updates.containers().as_str()), (8, "c/games/board,8"));
    let mut fewer = after.clone();
    fewer.programs.retain(|program| program.id != "clock");
    assert!(updates.count(&after, &fewer));
    assert_eq!((updates.system, updates.containers().as_str()), (9, "0,9,c/games/board,8"));
    updates.told();
    assert_eq!(updates.containers(), "");
}

#[test]
fn every_evented_variable_of_every_service_is_told() {
    let (directory, updates) = (directory(), Updates::new(7));
    let query: Query = Arc::new(|_| Ok(String::new()));
    let node = "192.0.2.1:4800".parse().unwrap();
    let view = View { directory: &directory, updates: &updates, node, query: &query };
    let told: Vec<_> = SERVICES.iter().map(|service| view.evented(service).len()).collect();
    assert_eq!(told, [2, 3, 2, 2]);
    assert!(view.evented(&CONTENT_DIRECTORY).contains(&("SystemUpdateID", "7".to_owned())));
}
