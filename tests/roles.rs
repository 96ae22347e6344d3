//! Whole sessions of Initiator, provider and peers in one process, each behaviour of the protocol in one test.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[expect(clippy::allow_attributes, reason = "each test program uses another part of the theatre")]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]
mod support;

use deployctl::message::{AccountingKind, Body, OnFailure, Quorum, Verdict};
use deployctl::model::{Code, ParticipantState, SessionState, Span};
use deployctl::session::{Decision, Outcome, RolloutState, RolloutSummary, What, Work};
use support::play::Play;
use support::theatre::{FINE, INITIATOR, PEER, PROVIDER, Theatre, Weather, sent};

use SessionState::{Closed, Declined, Expired, Failed, QuorumMissed, Running, Starting, Unaccounted, Withdrawn};

const MINUTE: Span = Span::from_secs(60);
const HOUR: Span = Span::from_hours(1);
const SECOND_PEER: usize = PEER + 1;

/// Until it runs, in fine weather.
fn running(play: Play) -> Theatre {
    let mut theatre = Theatre::new(play);
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Running; theatre.nodes.len()]);
    theatre
}

fn states_at(theatre: &Theatre, node: usize) -> Vec<ParticipantState> {
    theatre.nodes[node].summary().participants.iter().map(|one| one.state).collect()
}

/// Nobody holds or runs anything, everyone is done, nothing is left to be said, and the logs replay to the same.
fn assert_clean(theatre: &Theatre) {
    for node in theatre.nodes.iter().filter(|node| node.machine().is_some()) {
        let summary = node.summary();
        assert!(summary.over, "{}: not over: {:?}", node.party, summary.state);
        assert!(summary.state.is_end(), "{}: {:?}", node.party, summary.state);
        assert!(!node.disk && node.running.is_none(), "{}: software is left", node.party);
        assert!(node.machine().unwrap().work().is_empty());
        let live = node.live.as_ref().unwrap();
        assert!(live.outbox.is_empty(), "{}: {} messages left", node.party, live.outbox.len());
        let replayed = node.replayed().unwrap();
        assert_eq!(replayed.machine.summary(), summary);
        assert_eq!(replayed.outbox, live.outbox);
        if summary.state != Closed {
            assert!(summary.reason.is_some_and(|reason| reason.len() > 5), "{}: no reason", node.party);
        }
    }
}

#[test]
fn a1_to_a19_from_the_request_to_the_last_removal() {
    let mut theatre = running(Play::default());
    assert_eq!(states_at(&theatre, PROVIDER), vec![ParticipantState::Confirmed; 3]);
    assert_eq!(states_at(&theatre, INITIATOR), vec![ParticipantState::Confirmed; 3]);
    theatre.run_for(HOUR);
    assert_eq!(theatre.nodes[PROVIDER].live.as_ref().unwrap().accounts.len(), 3, "one interim each 20 minutes");
    theatre.stop(INITIATOR, "the game is over").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Closed; 4]);
    for node in 0..4 {
        assert_eq!(theatre.reason(node), "the game is over");
    }
    assert_eq!(states_at(&theatre, PROVIDER), vec![ParticipantState::Removed; 3]);
    assert_eq!(states_at(&theatre, INITIATOR), vec![ParticipantState::Removed; 3]);
    let (mine, theirs) = (theatre.nodes[INITIATOR].live.as_ref(), theatre.nodes[PROVIDER].live.as_ref());
    assert_eq!(mine.unwrap().accounts, theirs.unwrap().accounts);
    let last = sent(&theatre.nodes[INITIATOR], "accounting").pop().unwrap();
    let Body::Accounting(last) = &last.body else { panic!("not an accounting") };
    assert_eq!(last.kind, AccountingKind::Final);
    assert_clean(&theatre);
}

#[test]
fn a10_a_decline_misses_a_quorum_of_all() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[SECOND_PEER].script.answer = Some((Verdict::Decline, MINUTE));
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), [QuorumMissed, QuorumMissed, QuorumMissed, Declined]);
    assert_eq!(states_at(&theatre, INITIATOR)[1..], [ParticipantState::Accepted, ParticipantState::Declined]);
    for node in [INITIATOR, PROVIDER, PEER] {
        assert_eq!(theatre.reason(node), "2 of 2 peers are required (quorum all), 1 can be had");
    }
    assert!(theatre.now < theatre.nodes[PROVIDER].summary().answer_by.unwrap() + HOUR);
    assert_clean(&theatre);
}

#[test]
fn a10_a_quorum_of_any_or_of_a_number_bears_a_decline() {
    for quorum in [Quorum::Any, Quorum::Count(2)] {
        let mut theatre = Theatre::new(Play { peers: 3, quorum, ..Play::default() });
        theatre.nodes[PEER].script.answer = Some((Verdict::Decline, MINUTE));
        theatre.run_for(HOUR);
        assert_eq!(theatre.states(), [Running, Running, Declined, Running, Running]);
        theatre.stop(INITIATOR, "enough").unwrap();
        theatre.run_for(HOUR);
        assert_eq!(theatre.states(), [Closed, Closed, Declined, Closed, Closed]);
        assert_clean(&theatre);
    }
}

#[test]
fn a10_nobody_answers_in_time() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.run_for(Span::from_hours(2));
    assert_eq!(theatre.states(), [QuorumMissed, QuorumMissed, QuorumMissed, Expired]);
    assert_clean(&theatre);
    let refused = theatre.answer(SECOND_PEER, Verdict::Accept).unwrap_err();
    assert_eq!(refused.code, Code::Expired);
}

#[test]
fn a10_who_is_in_by_then_plays_when_the_quorum_is_met_at_answer_by() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Any, ..Play::default() });
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.run_for(Span::from_secs(3500));
    assert_eq!(theatre.state(PROVIDER), SessionState::Inviting);
    theatre.run_for(Span::from_secs(300));
    assert_eq!(theatre.states(), [Running, Running, Running, Expired]);
}

#[test]
fn a10_an_accept_after_the_roster_is_fixed_is_too_late() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Any, ..Play::default() });
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.run_for(Span::from_secs(3590));
    theatre.cut_off.push(SECOND_PEER);
    theatre.answer(SECOND_PEER, Verdict::Accept).unwrap();
    theatre.run_for(MINUTE);
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), [Running, Running, Running, Expired]);
    assert_eq!(theatre.reason(SECOND_PEER), "the answers are in and the roster is fixed");
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(HOUR);
    assert_clean(&theatre);
}

#[test]
fn a10_a_second_answer_is_refused() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.run_for(MINUTE);
    assert_eq!(theatre.answer(PEER, Verdict::Decline).unwrap_err().code, Code::AlreadyAnswered);
    theatre.answer(SECOND_PEER, Verdict::Decline).unwrap();
    assert_eq!(theatre.answer(SECOND_PEER, Verdict::Accept).unwrap_err().code, Code::AlreadyAnswered);
}

#[test]
fn a8_a_peer_is_added_before_the_roster_is_fixed() {
    let mut theatre = Theatre::new(Play { peers: 3, later: 1, ..Play::default() });
    theatre.nodes[SECOND_PEER].script.answer = Some((Verdict::Accept, Span::from_secs(600)));
    theatre.run_for(MINUTE);
    theatre.add(SECOND_PEER + 1, "guest").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(states_at(&theatre, INITIATOR)[3], ParticipantState::Accepted);
    assert_eq!(theatre.add(SECOND_PEER + 1, "guest").unwrap_err().code, Code::BadInput);
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Running; 5]);
    let refused = theatre.add(SECOND_PEER, "guest").unwrap_err();
    assert_eq!(refused.code, Code::TooLate);
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(HOUR);
    assert_clean(&theatre);
}

#[test]
fn a8_a_peer_that_is_added_too_late_is_not_invited_and_forgotten_again() {
    let mut theatre = Theatre::new(Play { peers: 3, later: 1, ..Play::default() });
    theatre.run_for(Span::from_secs(25));
    theatre.cut_off.push(INITIATOR);
    theatre.add(SECOND_PEER + 1, "guest").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(states_at(&theatre, INITIATOR).len(), 4);
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Running; 4]);
    assert_eq!(states_at(&theatre, INITIATOR), vec![ParticipantState::Confirmed; 3]);
    assert!(sent(&theatre.nodes[PROVIDER], "invitation").len() == 2);
}

#[test]
fn a8_added_peers_are_checked_like_those_of_the_request() {
    let mut theatre = Theatre::new(Play { peers: 3, later: 1, referees: Some((1, 1)), ..Play::default() });
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.run_for(MINUTE);
    for (role, why) in [("referee", "takes at most 1"), ("host", "not a role for a peer"), ("cook", "there is guest")] {
        theatre.add(SECOND_PEER + 1, role).unwrap();
        theatre.run_for(MINUTE);
        assert_eq!(states_at(&theatre, INITIATOR).len(), 3, "{role} is refused and forgotten");
        let log = &theatre.nodes[INITIATOR].log;
        let refused =
            log.iter().any(|(_, _, body)| body["error"]["message"].as_str().is_some_and(|one| one.contains(why)));
        assert!(refused, "refused as {why}");
    }
    theatre.add(SECOND_PEER + 1, "guest").unwrap();
    theatre.answer(SECOND_PEER, Verdict::Accept).unwrap();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Running; 5]);
}

#[test]
fn a6_each_role_for_peers_has_a_least_and_a_most() {
    let play = Play { referees: Some((1, 1)), quorum: Quorum::Any, ..Play::default() };
    let theatre = running(play.clone());
    let roles = theatre.nodes[PROVIDER].summary().participants;
    assert_eq!(roles.iter().map(|one| one.role.to_string()).collect::<Vec<_>>(), ["host", "referee", "guest"]);
    for (number, lacks) in [(PEER, "referee"), (SECOND_PEER, "guest")] {
        let mut theatre = Theatre::new(play.clone());
        theatre.nodes[number].script.answer = Some((Verdict::Decline, MINUTE));
        theatre.run_for(HOUR);
        assert_eq!(theatre.state(INITIATOR), QuorumMissed);
        assert_eq!(theatre.reason(PROVIDER), format!("the role {lacks} needs at least 1, 0 can be had"));
        assert_clean(&theatre);
    }
}

#[test]
fn a8_the_initiator_closes_the_answers() {
    let mut theatre = Theatre::new(Play { peers: 3, quorum: Quorum::Any, ..Play::default() });
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.nodes[SECOND_PEER + 1].script.answer = None;
    theatre.run_for(MINUTE);
    assert_eq!(theatre.state(PROVIDER), SessionState::Inviting);
    theatre.cut_off.push(SECOND_PEER + 1);
    theatre.decide(INITIATOR, Decision::CloseAnswers).unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), [Running, Running, Running, Withdrawn, SessionState::Inviting]);
    assert_eq!(theatre.reason(SECOND_PEER), "no more answers are waited for");
    for node in [INITIATOR, PROVIDER] {
        assert_eq!(states_at(&theatre, node)[2..], [ParticipantState::Withdrawn; 2]);
    }
    assert_eq!(theatre.decide(INITIATOR, Decision::CloseAnswers).unwrap_err().code, Code::TooLate);
    // Whoever has not heard of it yet accepts in vain.
    theatre.answer(SECOND_PEER + 1, Verdict::Accept).unwrap();
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states()[2..], [Running, Withdrawn, Withdrawn]);
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(HOUR);
    assert_clean(&theatre);
}

#[test]
fn a8_closing_the_answers_misses_a_quorum_that_is_not_there() {
    for quorum in [Quorum::All, Quorum::Count(2)] {
        let mut theatre = Theatre::new(Play { quorum, ..Play::default() });
        theatre.nodes[SECOND_PEER].script.answer = None;
        theatre.run_for(MINUTE);
        theatre.decide(INITIATOR, Decision::CloseAnswers).unwrap();
        theatre.run_for(HOUR);
        assert_eq!(theatre.states(), [QuorumMissed, QuorumMissed, QuorumMissed, Withdrawn]);
        assert!(theatre.reason(INITIATOR).starts_with("2 of 2 peers are required"), "{}", theatre.reason(INITIATOR));
        assert_clean(&theatre);
    }
}

#[test]
fn a8_an_invitation_is_taken_back_answered_or_not() {
    for by in [INITIATOR, PROVIDER] {
        let mut theatre = Theatre::new(Play { peers: 4, ..Play::default() });
        for peer in [SECOND_PEER, SECOND_PEER + 1] {
            theatre.nodes[peer].script.answer = None;
        }
        theatre.nodes[SECOND_PEER + 2].script.answer = Some((Verdict::Accept, Span::from_secs(1200)));
        theatre.run_for(MINUTE);
        theatre.cut_off.push(SECOND_PEER + 1);
        for peer in [PEER, SECOND_PEER, SECOND_PEER + 1] {
            theatre.withdraw(by, peer).unwrap();
        }
        theatre.run_for(MINUTE);
        assert_eq!(theatre.states()[2..4], [Withdrawn, Withdrawn]);
        assert_eq!(states_at(&theatre, PEER), [ParticipantState::Withdrawn]);
        for node in [INITIATOR, PROVIDER] {
            assert_eq!(states_at(&theatre, node)[1..4], [ParticipantState::Withdrawn; 3]);
            assert_eq!(theatre.nodes[node].summary().participants[1].reason.as_deref(), Some("we are full"));
        }
        assert_eq!(theatre.withdraw(by, PEER).unwrap_err().code, Code::AlreadyAnswered);
        for peer in [PEER, SECOND_PEER] {
            assert_eq!(theatre.answer(peer, Verdict::Accept).unwrap_err().code, Code::Withdrawn);
        }
        // It has not heard of it, and its answer is refused.
        theatre.answer(SECOND_PEER + 1, Verdict::Accept).unwrap();
        theatre.cut_off.clear();
        theatre.run_for(HOUR);
        assert_eq!(theatre.states(), [Running, Running, Withdrawn, Withdrawn, Withdrawn, Running]);
        assert!(theatre.reason(SECOND_PEER + 1).contains("we are full"), "{}", theatre.reason(SECOND_PEER + 1));
        assert_eq!(theatre.withdraw(by, SECOND_PEER + 2).unwrap_err().code, Code::TooLate);
        theatre.stop(INITIATOR, "done").unwrap();
        theatre.run_for(HOUR);
        assert_clean(&theatre);
    }
}

#[test]
fn a8_taking_back_too_many_misses_the_quorum() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Count(2), ..Play::default() });
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.run_for(MINUTE);
    theatre.withdraw(PROVIDER, SECOND_PEER).unwrap();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), [QuorumMissed, QuorumMissed, QuorumMissed, Withdrawn]);
    assert_clean(&theatre);
}

#[test]
fn a11_a_failing_build_is_reported_to_everyone_with_the_tail() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[PROVIDER].script.build_fails = true;
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Failed; 4]);
    for node in &theatre.nodes {
        let failure = node.summary().failure.unwrap();
        assert_eq!(failure.code, Code::BuildFailed);
        assert!(failure.text.contains("the compiler stopped") && failure.text.contains("host"), "{}", failure.text);
        assert_eq!(failure.tail.as_deref(), Some("the last words"));
    }
    assert_clean(&theatre);
}

#[test]
fn a14_a_failed_installation_ends_the_session_with_abort() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Any, ..Play::default() });
    theatre.nodes[PEER].script.install_fails = true;
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert_eq!(theatre.reason(SECOND_PEER), "peer2 failed: no space");
    assert_eq!(theatre.nodes[INITIATOR].summary().failure.unwrap().tail.as_deref(), Some("the last words"));
    assert_clean(&theatre);
}

#[test]
fn a14_a_failed_installation_is_borne_with_continue() {
    let play = Play { quorum: Quorum::Any, on_failure: OnFailure::Continue, ..Play::default() };
    let mut theatre = Theatre::new(play);
    theatre.nodes[PEER].script.install_fails = true;
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), [Running, Running, Failed, Running]);
    assert_eq!(theatre.reason(PEER), "no space");
    let of_peer = &theatre.nodes[INITIATOR].summary().participants[1];
    assert!(of_peer.failed && of_peer.state == ParticipantState::Removed);
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), [Closed, Closed, Failed, Closed]);
    assert_clean(&theatre);
}

#[test]
fn a14_continue_does_not_bear_the_loss_of_a_required_participant() {
    let mut theatre = Theatre::new(Play { on_failure: OnFailure::Continue, ..Play::default() });
    theatre.nodes[PEER].script.install_fails = true;
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert_clean(&theatre);
}

#[test]
fn a15_what_never_gets_ready_is_uninstalled_at_once() {
    for on_failure in [OnFailure::Abort, OnFailure::Continue] {
        let mut theatre = Theatre::new(Play { peers: 3, quorum: Quorum::Any, on_failure, ..Play::default() });
        theatre.nodes[PEER].script.never_ready = true;
        theatre.run_for(HOUR);
        assert!(!theatre.nodes[PEER].disk);
        let failure = theatre.nodes[PEER].summary().failure.unwrap();
        assert_eq!(failure.text, "the port stayed closed");
        assert_eq!(states_at(&theatre, PROVIDER)[1], ParticipantState::Removed);
        if on_failure == OnFailure::Abort {
            assert_eq!(theatre.states(), vec![Failed; 5]);
        } else {
            assert_eq!(theatre.states(), [Running, Running, Failed, Running, Running]);
            theatre.stop(INITIATOR, "done").unwrap();
            theatre.run_for(HOUR);
        }
        assert_clean(&theatre);
    }
}

#[test]
fn a15_an_initiator_that_never_gets_ready_ends_the_session() {
    let mut theatre = Theatre::new(Play { on_failure: OnFailure::Continue, ..Play::default() });
    theatre.nodes[INITIATOR].script.never_ready = true;
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert_clean(&theatre);
}

#[test]
fn a15_a_service_that_gives_up_later_ends_the_session_with_abort() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[PEER].script.gives_up_after = Some(Span::from_secs(1800));
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert_eq!(theatre.reason(INITIATOR), "peer2 failed: exited with 3");
    assert_clean(&theatre);
}

#[test]
fn a17_a_peer_leaves_alone_and_the_others_go_on() {
    let mut theatre = running(Play::default());
    theatre.stop(PEER, "my train leaves").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), [Running, Running, Closed, Running]);
    assert_eq!(theatre.reason(PEER), "my train leaves");
    for node in [INITIATOR, PROVIDER] {
        let one = theatre.nodes[node].summary().participants[1].clone();
        assert_eq!((one.state, one.reason.as_deref()), (ParticipantState::Removed, Some("my train leaves")));
    }
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Closed; 4]);
    assert_clean(&theatre);
}

#[test]
fn a17_the_session_ends_when_too_few_are_left_for_a_role() {
    let mut theatre = running(Play { guests: 2, ..Play::default() });
    theatre.stop(PEER, "my train leaves").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), [Failed, Failed, Closed, Failed]);
    assert!(theatre.reason(INITIATOR).contains("the role guest needs at least 2, 1 can be had"));
    assert_clean(&theatre);
}

#[test]
fn a17_a_peer_leaves_before_the_roster_is_fixed() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Any, ..Play::default() });
    theatre.nodes[SECOND_PEER].script.answer = Some((Verdict::Accept, Span::from_secs(600)));
    theatre.run_for(MINUTE);
    theatre.stop(PEER, "changed my mind").unwrap();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), [Running, Running, Closed, Running]);
    assert_eq!(states_at(&theatre, PEER), [ParticipantState::Left]);
    for node in [INITIATOR, PROVIDER] {
        assert_eq!(states_at(&theatre, node)[1], ParticipantState::Left);
    }
    assert!(sent(&theatre.nodes[PROVIDER], "delivery").iter().all(|one| one.head.to != theatre.nodes[PEER].me()));
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(MINUTE);
    assert_clean(&theatre);
}

#[test]
fn a17_a_peer_leaves_while_only_its_package_is_still_being_built() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Any, ..Play::default() });
    while theatre.nodes[PROVIDER].state() != Some(SessionState::Building) {
        theatre.run_for(Span::from_ms(10));
    }
    theatre.stop(PEER, "changed my mind").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), [Running, Running, Closed, Running]);
}

#[test]
fn a17_the_initiators_program_ends_by_itself() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[INITIATOR].script.exits_after = Some(Span::from_secs(1500));
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Closed; 4]);
    assert_eq!(theatre.reason(PEER), "the Initiator's program ended by itself");
    assert_clean(&theatre);
}

#[test]
fn a18_a_vanished_initiator_leaves_the_session_unaccounted_until_it_is_back() {
    let mut theatre = running(Play::default());
    theatre.cut_off.push(INITIATOR);
    theatre.run_for(Span::from_hours(8));
    assert_eq!(theatre.state(PROVIDER), SessionState::Terminating);
    theatre.run_for(Span::from_hours(2));
    assert_eq!(theatre.states(), [Unaccounted, Unaccounted, Closed, Closed]);
    assert!(theatre.reason(PROVIDER).contains("not reported as removed: alice"), "{}", theatre.reason(PROVIDER));
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Closed; 4]);
    assert_eq!(theatre.reason(PROVIDER), "the session's end time has come");
    assert_clean(&theatre);
}

#[test]
fn a21_everyone_stops_at_the_end_time_when_the_provider_has_vanished() {
    let mut theatre = running(Play::default());
    theatre.cut_off.push(PROVIDER);
    theatre.run_for(Span::from_hours(10));
    assert!(theatre.nodes.iter().all(|node| !node.disk && node.running.is_none()));
    assert_eq!([theatre.state(PEER), theatre.state(INITIATOR)], [Closed, Unaccounted]);
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Closed; 4]);
    assert_clean(&theatre);
}

#[test]
fn a17_the_provider_ends_the_session() {
    let mut theatre = running(Play::default());
    theatre.stop(PROVIDER, "we close at six").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Closed; 4]);
    assert_eq!(theatre.reason(INITIATOR), "we close at six");
    assert_eq!(theatre.reason(PEER), "we close at six");
    assert_clean(&theatre);
}

#[test]
fn a15_a_held_session_waits_for_the_word() {
    let mut theatre = Theatre::new(Play { hold: true, ..Play::default() });
    theatre.run_for(HOUR);
    assert_eq!(theatre.state(PROVIDER), Starting);
    assert_eq!(theatre.reason(PROVIDER), "waits for the Initiator's word to start");
    assert!(theatre.nodes.iter().all(|node| node.running.is_none()));
    theatre.decide(INITIATOR, Decision::Start).unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Running; 4]);
}

#[test]
fn a15_the_word_may_be_given_before_all_have_installed() {
    let mut theatre = Theatre::new(Play { hold: true, ..Play::default() });
    theatre.nodes[PEER].script.install_takes = Span::from_secs(300);
    theatre.run_for(MINUTE);
    theatre.decide(INITIATOR, Decision::Start).unwrap();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Running; 4]);
}

#[test]
fn a17_a_stop_before_the_roster_is_fixed_withdraws() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[SECOND_PEER].script.answer = None;
    theatre.run_for(MINUTE);
    theatre.stop(INITIATOR, "not today").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Withdrawn; 4]);
    assert_eq!(theatre.reason(SECOND_PEER), "not today");
    assert_eq!(theatre.answer(SECOND_PEER, Verdict::Accept).unwrap_err().code, Code::Withdrawn);
    assert_clean(&theatre);
}

#[test]
fn a17_a_stop_that_overtakes_the_request_withdraws() {
    let mut theatre = Theatre::new(Play::default());
    theatre.run_for(Span::from_ms(500));
    theatre.cut_off.push(PROVIDER);
    theatre.run_for(Span::from_secs(5));
    assert_eq!(theatre.state(INITIATOR), SessionState::Requested);
    theatre.weather = Weather { delay: 60_000, ..FINE };
    theatre.stop(INITIATOR, "not today").unwrap();
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Withdrawn; theatre.states().len()]);
    assert_clean(&theatre);
}

#[test]
fn a17_a_delivery_after_terminate_is_not_installed() {
    for early in [10, 500, 2000, 2500, 3000, 4000] {
        let mut theatre = Theatre::new(Play::default());
        while theatre.nodes[PROVIDER].state() != Some(SessionState::Building) {
            theatre.run_for(Span::from_ms(10));
        }
        theatre.weather = Weather { delay: 30_000, ..FINE };
        theatre.run_for(Span::from_ms(early));
        theatre.stop(INITIATOR, "not today").unwrap();
        theatre.run_for(Span::from_hours(1));
        assert_eq!(theatre.states(), vec![Withdrawn; 4]);
        assert_clean(&theatre);
    }
}

#[test]
fn a15_later_installers_get_start_at_once() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Any, ..Play::default() });
    theatre.nodes[SECOND_PEER].script.install_takes = Span::from_secs(600);
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), [Running, Running, Running, Running]);
    assert!(theatre.nodes[SECOND_PEER].running.is_none());
    theatre.run_for(Span::from_secs(600));
    assert!(theatre.nodes[SECOND_PEER].running.is_some());
    assert_eq!(states_at(&theatre, PROVIDER)[2], ParticipantState::Confirmed);
}

#[test]
fn a15_a_role_without_a_run_section_is_confirmed_by_the_start() {
    let mut theatre = running(Play { runs: false, ..Play::default() });
    assert_eq!(states_at(&theatre, PROVIDER), vec![ParticipantState::Confirmed; 3]);
    assert!(theatre.nodes[PEER].running.is_none() && theatre.nodes[PEER].disk);
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(theatre.states(), vec![Closed; 4]);
    assert_clean(&theatre);
}

#[test]
fn a12_who_does_not_install_in_time_ends_the_session() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[PEER].script.install_takes = HOUR;
    theatre.run_for(Span::from_hours(2));
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert!(theatre.reason(INITIATOR).contains("install within 10m"), "{}", theatre.reason(INITIATOR));
    assert_clean(&theatre);
}

#[test]
fn a15_who_does_not_get_ready_in_time_ends_the_session() {
    let mut theatre = Theatre::new(Play::default());
    while theatre.nodes[PROVIDER].state() != Some(Starting) {
        theatre.run_for(Span::from_ms(10));
    }
    theatre.cut_off.push(PEER);
    theatre.run_for(Span::from_secs(660));
    assert_eq!([theatre.state(PROVIDER), theatre.state(INITIATOR)], [SessionState::Terminating, Failed]);
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert!(theatre.reason(PEER).contains("become ready within 10m"), "{}", theatre.reason(PEER));
    assert_clean(&theatre);
}

#[test]
fn a8_an_offline_peer_gets_its_invitation_when_it_is_back() {
    let mut theatre = Theatre::new(Play::default());
    theatre.cut_off.push(PEER);
    theatre.run_for(Span::from_secs(1800));
    theatre.cut_off.clear();
    theatre.run_for(Span::from_secs(900));
    assert_eq!(theatre.states(), vec![Running; 4]);
}

#[test]
fn a8_a_node_that_turns_the_invitation_away_counts_as_declining() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[PEER].script.turns_away = Some("invitation");
    theatre.run_for(Span::from_secs(600));
    assert_eq!(theatre.states(), [QuorumMissed, QuorumMissed, QuorumMissed]);
    let reason = theatre.nodes[PROVIDER].summary().participants[1].reason.clone();
    assert_eq!(reason.as_deref(), Some("its node refused the invitation: we do not know you"));
    assert_clean(&theatre);
}

#[test]
fn a13_a_node_that_turns_the_delivery_away_has_failed() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[PEER].script.turns_away = Some("delivery");
    theatre.run_for(Span::from_secs(600));
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert_eq!(theatre.reason(INITIATOR), "peer2 failed: its node refused the delivery: we do not know you");
    assert_clean(&theatre);
}

#[test]
fn a13_an_initiator_that_turns_the_delivery_away_still_hears_of_the_end() {
    let mut theatre = Theatre::new(Play::default());
    theatre.nodes[INITIATOR].script.turns_away = Some("delivery");
    theatre.run_for(Span::from_secs(600));
    assert_eq!(theatre.states(), vec![Failed; 4]);
    assert_clean(&theatre);
}

#[test]
fn a18_an_initiator_that_comes_back_to_an_unaccounted_session_closes_it() {
    for dice in 0..8 {
        let mut theatre = Theatre::seeded(Play::default(), dice, FINE);
        theatre.run_for(MINUTE);
        theatre.cut_off.push(INITIATOR);
        theatre.stop(PROVIDER, "we close at six").unwrap();
        theatre.run_for(Span::from_hours(3));
        assert_eq!([theatre.state(PROVIDER), theatre.state(INITIATOR)], [Unaccounted, Running]);
        theatre.weather = Weather { delay: 200_000, ..FINE };
        theatre.cut_off.clear();
        theatre.run_for(Span::from_hours(2));
        assert_eq!(theatre.states(), vec![Closed; 4]);
        assert_clean(&theatre);
    }
}

/// Which generation each participant has, as `node` knows it.
fn generations_at(theatre: &Theatre, node: usize) -> Vec<Option<u32>> {
    theatre.nodes[node].summary().participants.iter().map(|one| one.generation).collect()
}

fn rollout(theatre: &Theatre) -> RolloutSummary {
    theatre.nodes[PROVIDER].summary().rollout.unwrap()
}

fn ends_well(mut theatre: Theatre) {
    theatre.stop(INITIATOR, "done").unwrap();
    theatre.run_for(HOUR);
    assert!(theatre.states().iter().all(|state| *state == Closed), "{:?}", theatre.states());
    assert_clean(&theatre);
}

#[test]
fn a11_a_running_session_is_built_again_for_one_participant_after_the_other() {
    for runs in [true, false] {
        let mut theatre = running(Play { runs, ..Play::default() });
        for generation in [2, 3] {
            theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
            assert_eq!(theatre.decide(PROVIDER, Decision::Rebuild).unwrap_err().code, Code::WrongState);
            theatre.run_for(Span::from_secs(300));
            assert_eq!(rollout(&theatre).state, RolloutState::Delivered);
            for node in [INITIATOR, PROVIDER] {
                assert_eq!(generations_at(&theatre, node), vec![Some(generation); 3]);
                assert_eq!(states_at(&theatre, node), vec![ParticipantState::Confirmed; 3]);
            }
        }
        assert_eq!(theatre.states(), vec![Running; 4]);
        // The Initiator first, and each only when the one before had confirmed.
        let deliveries = sent(&theatre.nodes[PROVIDER], "delivery");
        let times: Vec<_> = deliveries.iter().skip(3).map(|one| (one.head.issued, one.head.to)).collect();
        assert_eq!(times[0].1, theatre.nodes[INITIATOR].me());
        assert!(times[0].0 + Span::from_secs(5) < times[1].0 && times[1].0 + Span::from_secs(5) < times[2].0);
        ends_well(theatre);
    }
}

#[test]
fn a11_who_has_left_is_not_on_the_roster_of_the_next_generation() {
    let mut theatre = running(Play::default());
    theatre.stop(PEER, "my train leaves").unwrap();
    theatre.run_for(MINUTE);
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(MINUTE);
    let last = sent(&theatre.nodes[PROVIDER], "delivery").pop().unwrap();
    let Body::Delivery(delivery) = &last.body else { panic!("not a delivery") };
    assert_eq!((delivery.generation, delivery.roster.peers.len()), (2, 1));
    assert!(
        sent(&theatre.nodes[PROVIDER], "delivery").iter().filter(|one| one.head.to == theatre.nodes[PEER].me()).count()
            == 1
    );
    assert_eq!(rollout(&theatre).state, RolloutState::Delivered);
    ends_well(theatre);
}

#[test]
fn b14_a_generation_that_is_not_ready_goes_back_and_nobody_else_gets_it() {
    let mut theatre = running(Play::default());
    theatre.nodes[PEER].script.unready = Some(2);
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(Span::from_secs(120));
    let stopped = rollout(&theatre);
    assert_eq!(stopped.state, RolloutState::Stopped);
    assert_eq!(stopped.failure.unwrap().text, "generation 2 failed at peer2: the port stayed closed");
    assert_eq!(theatre.states(), vec![Running; 4]);
    for node in [INITIATOR, PROVIDER] {
        assert_eq!(generations_at(&theatre, node), [Some(2), Some(1), Some(1)]);
        assert_eq!(states_at(&theatre, node), vec![ParticipantState::Confirmed; 3]);
        let why = theatre.nodes[node].summary().participants[1].reason.clone();
        assert_eq!(why.as_deref(), Some("generation 2 failed, back to 1: the port stayed closed"));
    }
    assert!(theatre.nodes[INITIATOR].summary().failure.is_some(), "the Initiator is told");
    let reports = sent(&theatre.nodes[PEER], "report");
    let said = reports.iter().map(|one| match &one.body {
        Body::Report(report) => (report.generation, report.state, report.back_to),
        _ => panic!("not a report"),
    });
    use deployctl::message::ReportState::{Confirmed, Failed, Installed};
    let expected =
        [(1, Installed, None), (1, Confirmed, None), (2, Installed, None), (2, Failed, Some(1)), (1, Confirmed, None)];
    assert_eq!(said.collect::<Vec<_>>(), expected);
    // The next one reaches everybody, and what went wrong is forgotten.
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(Span::from_secs(120));
    assert_eq!(generations_at(&theatre, INITIATOR), vec![Some(3); 3]);
    assert!(theatre.nodes[INITIATOR].summary().failure.is_none());
    ends_well(theatre);
}

#[test]
fn b14_a_generation_that_cannot_be_installed_leaves_the_running_one_alone() {
    let mut theatre = running(Play::default());
    theatre.nodes[INITIATOR].script.install_fails_later = true;
    let since = theatre.nodes[INITIATOR].running;
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(rollout(&theatre).failure.unwrap().text, "generation 2 failed at alice: no space");
    assert_eq!(theatre.nodes[INITIATOR].running, since, "it was never stopped");
    assert_eq!(generations_at(&theatre, PROVIDER), vec![Some(1); 3]);
    ends_well(theatre);
}

#[test]
fn a11_a_generation_that_is_not_built_or_not_taken_is_not_rolled_out() {
    let mut theatre = running(Play::default());
    theatre.nodes[PROVIDER].script.build_fails = true;
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(MINUTE);
    assert_eq!(rollout(&theatre).failure.unwrap().code, Code::BuildFailed);
    assert_eq!(theatre.nodes[INITIATOR].summary().failure.unwrap().code, Code::BuildFailed);
    theatre.nodes[PROVIDER].script.build_fails = false;
    theatre.nodes[INITIATOR].script.turns_away = Some("delivery");
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(MINUTE);
    assert!(rollout(&theatre).failure.unwrap().text.contains("refused the delivery"));
    theatre.nodes[INITIATOR].script.turns_away = None;
    theatre.cut_off.push(INITIATOR);
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(HOUR);
    assert_eq!(rollout(&theatre).failure.unwrap().text, "generation 4 was not confirmed by alice within 20m");
    // It gets what was delivered when it is back, and runs it.
    theatre.cut_off.clear();
    theatre.run_for(HOUR);
    assert_eq!(generations_at(&theatre, PROVIDER), [Some(4), Some(1), Some(1)]);
    assert_eq!(theatre.states(), vec![Running; 4]);
    ends_well(theatre);
}

#[test]
fn b22_a_participant_goes_back_a_generation_by_hand() {
    let mut theatre = running(Play::default());
    assert_eq!(theatre.decide(PEER, Decision::RollBack).unwrap_err().code, Code::WrongState);
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(Span::from_secs(120));
    theatre.decide(PEER, Decision::RollBack).unwrap();
    theatre.run_for(MINUTE);
    for node in [INITIATOR, PROVIDER] {
        assert_eq!(generations_at(&theatre, node), [Some(2), Some(1), Some(2)]);
        assert_eq!(states_at(&theatre, node), vec![ParticipantState::Confirmed; 3]);
    }
    assert_eq!(theatre.decide(PEER, Decision::RollBack).unwrap_err().code, Code::WrongState);
    assert_eq!(rollout(&theatre).state, RolloutState::Delivered, "it is not urged upon it again");
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(Span::from_secs(120));
    assert_eq!(generations_at(&theatre, INITIATOR), vec![Some(3); 3]);
    ends_well(theatre);
}

#[test]
fn a11_who_installs_late_gets_the_later_generation_when_it_is_ready() {
    let mut theatre = Theatre::new(Play { quorum: Quorum::Any, ..Play::default() });
    theatre.nodes[SECOND_PEER].script.install_takes = Span::from_secs(300);
    theatre.run_for(MINUTE);
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    theatre.run_for(Span::from_secs(120));
    assert_eq!(generations_at(&theatre, PROVIDER), [Some(2), Some(2), None]);
    theatre.run_for(HOUR);
    assert_eq!(generations_at(&theatre, PROVIDER), vec![Some(2); 3]);
    ends_well(theatre);
}

#[test]
fn a17_a_session_ends_at_every_moment_of_a_rollout() {
    for moment in (0..60_000).step_by(3_000) {
        for unready in [None, Some(2)] {
            let mut theatre = running(Play::default());
            theatre.nodes[INITIATOR].script.unready = unready;
            theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
            theatre.run_for(Span::from_ms(moment));
            ends_well(theatre);
        }
    }
}

#[test]
fn b22_a_stop_that_two_have_seen_does_not_stop_the_generation_that_took_over() {
    let mut theatre = running(Play::default());
    theatre.decide(PROVIDER, Decision::Rebuild).unwrap();
    let now = |theatre: &Theatre| theatre.nodes[INITIATOR].machine().unwrap().work();
    while now(&theatre) != [Work::Stop] {
        theatre.run_for(Span::from_ms(10));
    }
    let stopped = || What::Result(Outcome::Stopped { meter: None });
    let time = theatre.now;
    theatre.nodes[INITIATOR].running = None;
    theatre.nodes[INITIATOR].take(time, stopped()).unwrap();
    assert_eq!(theatre.nodes[INITIATOR].take(time, stopped()).unwrap_err().code, Code::WrongState);
    theatre.run_for(Span::from_secs(120));
    assert_eq!(generations_at(&theatre, INITIATOR), vec![Some(2); 3]);
    ends_well(theatre);
}
