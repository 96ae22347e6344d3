#![expect(clippy::disallowed_methods, reason = "tests look at files")]

use std::os::unix::fs::PermissionsExt;

use super::*;

const HOUR: Span = Span::from_hours(1);

fn tokens() -> (tempfile::TempDir, Tokens) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("s"), true).unwrap();
    (folder, Tokens::of(&state))
}

fn now() -> Time {
    Time::from_unix_ms(1_800_000_000_000)
}

fn key(n: u8) -> Key {
    Key::from_bytes([n; 32])
}

fn redeem(tokens: &Tokens, secret: u8, by: u8, now: Time) -> Result<Used> {
    tokens.redeem(&[secret; 16], key(by), now, |_| Ok("ada".parse().unwrap())).map(|(_, used)| used)
}

#[test]
fn a_token_is_kept_without_its_secret_and_for_its_owner_alone() {
    let (_folder, tokens) = tokens();
    let secret = TokenSecret::from_bytes(*b"a secret of ours");
    let made = tokens.make(&secret, &"request".parse().unwrap(), now(), HOUR).unwrap();
    let path = tokens.path(made.id());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("a secret of ours") && text.contains("request"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(tokens.list().unwrap(), [made]);
}

#[test]
fn one_uses_it_once_and_may_ask_again_even_late() {
    let (_folder, tokens) = tokens();
    tokens.make(&TokenSecret::from_bytes([1; 16]), &Rights::default(), now(), HOUR).unwrap();
    assert_eq!(redeem(&tokens, 2, 1, now()).unwrap_err().code, Code::BadProof);
    let used = redeem(&tokens, 1, 1, now()).unwrap();
    assert_eq!((used.by, used.contact.as_deref()), (key(1), Some("ada")));
    // The contact is not made a second time: its owner may have removed it meanwhile.
    let again = tokens.redeem(&[1; 16], key(1), now() + HOUR + HOUR, |_| panic!("made again")).unwrap();
    assert_eq!(again.1, used);
    assert_eq!(redeem(&tokens, 1, 2, now()).unwrap_err().code, Code::TooLate);
}

#[test]
fn an_expired_or_revoked_one_is_worth_nothing_and_goes_by_itself() {
    let (_folder, tokens) = tokens();
    let made = tokens.make(&TokenSecret::from_bytes([1; 16]), &Rights::default(), now(), HOUR).unwrap();
    let late = now() + HOUR + Span::from_ms(1);
    assert_eq!(redeem(&tokens, 1, 1, late).unwrap_err().code, Code::Expired);
    assert!(tokens.expired(late).unwrap().is_empty());
    assert_eq!(tokens.expired(late + KEPT).unwrap(), [tokens.path(made.id())]);
    tokens.revoke(&made.id().short()).unwrap();
    let made = tokens.make(&TokenSecret::from_bytes([2; 16]), &Rights::default(), now(), HOUR).unwrap();
    assert_eq!(tokens.revoke("x").unwrap_err().code, Code::NotFound);
    assert_eq!(tokens.revoke(&made.id().short()).unwrap(), made);
    assert_eq!(redeem(&tokens, 2, 1, now()).unwrap_err().code, Code::BadProof);
}

#[test]
fn who_died_between_claim_and_contact_gets_its_contact_and_nobody_else_does() {
    let (_folder, tokens) = tokens();
    tokens.make(&TokenSecret::from_bytes([1; 16]), &Rights::default(), now(), HOUR).unwrap();
    let died = tokens.redeem(&[1; 16], key(1), now(), |_| Err(Error::new(Code::DiskFull, "no space")));
    assert_eq!(died.unwrap_err().code, Code::DiskFull);
    assert_eq!(redeem(&tokens, 1, 2, now()).unwrap_err().code, Code::TooLate);
    assert_eq!(redeem(&tokens, 1, 1, now()).unwrap().contact.as_deref(), Some("ada"));
}

#[test]
fn of_many_at_once_one_wins() {
    let (_folder, tokens) = tokens();
    tokens.make(&TokenSecret::from_bytes([1; 16]), &Rights::default(), now(), HOUR).unwrap();
    let won = std::thread::scope(|scope| {
        let tokens = &tokens;
        let all: Vec<_> = (0..8).map(|by| scope.spawn(move || redeem(tokens, 1, by, now()).is_ok())).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
}
