//! Sessions under random weather, crashes, decisions and failures: what must never happen does not, and once the
//! network is whole again every session comes to its end at every party.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[expect(clippy::allow_attributes, reason = "each test program uses another part of the theatre")]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use deployctl::message::{AccountingKind, Body, Envelope, Message, OnFailure, Quorum, Verdict, Verified};
use deployctl::model::{Key, SessionState, Span};
use deployctl::service::usage::{Amount, Usage};
use deployctl::session::{Decision, Meter};
use proptest::prelude::*;
use support::node::{Node, expires};
use support::play::{Play, Script};
use support::theatre::{FINE, INITIATOR, PEER, PROVIDER, Theatre, Weather};

/// One thing that happens from outside, at a node that is drawn modulo their number.
#[derive(Clone, Debug)]
enum Blow {
    Crash {
        node: usize,
        minutes: u64,
    },
    /// A crash while the log is written, with so many records of the step kept.
    Tear {
        node: usize,
        kept: usize,
    },
    CutOff {
        node: usize,
    },
    Reconnect,
    Stop {
        node: usize,
    },
    Account,
    GiveTheWord,
    Answer {
        peer: usize,
        accept: bool,
    },
    Add {
        peer: usize,
    },
    Withdraw {
        by: usize,
        peer: usize,
    },
    CloseAnswers,
    Rebuild,
    RollBack {
        node: usize,
    },
}

#[derive(Clone, Debug)]
struct Plan {
    dice: u64,
    weather: Weather,
    play: Play,
    scripts: Vec<Script>,
    /// Seconds after the one before.
    blows: Vec<(u64, Blow)>,
}

fn blow() -> impl Strategy<Value = Blow> {
    let node = 0..6usize;
    prop_oneof![
        3 => (node.clone(), 0..90u64).prop_map(|(node, minutes)| Blow::Crash { node, minutes }),
        4 => (node.clone(), 0..5usize).prop_map(|(node, kept)| Blow::Tear { node, kept }),
        1 => node.clone().prop_map(|node| Blow::CutOff { node }),
        2 => Just(Blow::Reconnect),
        1 => node.clone().prop_map(|node| Blow::Stop { node }),
        1 => Just(Blow::Account),
        1 => Just(Blow::GiveTheWord),
        1 => (node.clone(), any::<bool>()).prop_map(|(peer, accept)| Blow::Answer { peer, accept }),
        2 => node.clone().prop_map(|peer| Blow::Add { peer }),
        1 => (0..2usize, node).prop_map(|(by, peer)| Blow::Withdraw { by, peer }),
        1 => Just(Blow::CloseAnswers),
        3 => Just(Blow::Rebuild),
        1 => (0..6usize).prop_map(|node| Blow::RollBack { node }),
    ]
}

fn play() -> impl Strategy<Value = Play> {
    let quorum = prop_oneof![Just(Quorum::All), Just(Quorum::Any), Just(Quorum::Count(1))];
    let on_failure = prop_oneof![Just(OnFailure::Abort), Just(OnFailure::Continue)];
    let hold = prop_oneof![4 => Just(false), 1 => Just(true)];
    (1..4usize, 0..2usize, quorum, on_failure, hold, 0..2u32, any::<bool>()).prop_map(
        |(peers, later, quorum, on_failure, hold, guests, runs)| Play {
            peers: peers + later,
            later,
            quorum,
            on_failure,
            hold,
            guests,
            runs,
            lasts: Span::from_hours(3),
            ..Play::default()
        },
    )
}

fn script() -> impl Strategy<Value = Script> {
    let rarely = || prop_oneof![9 => Just(false), 1 => Just(true)];
    let span = || prop_oneof![6 => Just(None), 1 => (1..9000u64).prop_map(|secs| Some(Span::from_secs(secs)))];
    let answer = prop_oneof![
        8 => (1..4000u64).prop_map(|secs| Some((Verdict::Accept, Span::from_secs(secs / 10)))),
        1 => (1..4000u64).prop_map(|secs| Some((Verdict::Decline, Span::from_secs(secs)))),
        1 => Just(None),
    ];
    let turns_away = prop_oneof![12 => Just(None), 1 => Just(Some("invitation")), 1 => Just(Some("delivery"))];
    (answer, turns_away, rarely(), rarely(), 1..700u64, rarely(), span(), span()).prop_map(
        |(answer, turns_away, build_fails, install_fails, takes, never_ready, exits_after, gives_up_after)| Script {
            answer,
            turns_away,
            build_fails,
            install_fails,
            install_takes: Span::from_secs(takes / 4),
            never_ready,
            unready: Some(2).filter(|_| takes % 4 == 1),
            install_fails_later: takes % 8 == 2,
            exits_after,
            gives_up_after,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let delay = prop_oneof![3 => Just(20), 2 => Just(2_000), 2 => Just(60_000), 1 => Just(900_000)];
    let weather = (0..40u64, 0..30u64, delay).prop_map(|(loss, double, delay)| Weather { loss, double, delay });
    let gap = prop_oneof![4 => 0..20u64, 2 => 0..300u64, 1 => 0..4000u64];
    let blows = prop::collection::vec((gap, blow()), 0..14);
    (any::<u64>(), weather, play(), prop::collection::vec(script(), 6), blows)
        .prop_map(|(dice, weather, play, scripts, blows)| Plan { dice, weather, play, scripts, blows })
}

/// Plays the plan; gives the number of extra moves that were accounted by hand.
fn perform(plan: &Plan) -> (Theatre, u64) {
    let mut theatre = Theatre::seeded(plan.play.clone(), plan.dice, plan.weather);
    for (node, script) in theatre.nodes.iter_mut().zip(&plan.scripts) {
        node.script = script.clone();
    }
    let count = theatre.nodes.len();
    let mut moves = 0;
    let mut down = BTreeMap::new();
    for (gap, blow) in &plan.blows {
        rise(&mut theatre, &mut down, Span::from_secs(*gap));
        match blow {
            Blow::Crash { node, minutes } if theatre.nodes[node % count].alive => {
                theatre.crash(node % count);
                down.insert(node % count, theatre.now + Span::from_secs(60 * minutes));
            }
            Blow::Tear { node, kept } => theatre.nodes[node % count].tear_after = Some(*kept),
            Blow::CutOff { node } => theatre.cut_off.push(node % count),
            Blow::Reconnect => theatre.cut_off.clear(),
            Blow::Stop { node } if theatre.nodes[node % count].machine().is_some() => {
                theatre.stop(node % count, "as the dice fell").ok();
            }
            Blow::Account if theatre.nodes[INITIATOR].machine().is_some() => {
                moves += u64::from(account_a_move(&mut theatre));
            }
            Blow::GiveTheWord if theatre.nodes[INITIATOR].machine().is_some() => {
                theatre.decide(INITIATOR, Decision::Start).ok();
            }
            Blow::Answer { peer, accept } => {
                let peer = PEER + peer % (count - PEER);
                if theatre.nodes[peer].machine().is_some() {
                    theatre.answer(peer, if *accept { Verdict::Accept } else { Verdict::Decline }).ok();
                }
            }
            Blow::Add { peer } if theatre.nodes[INITIATOR].machine().is_some() => {
                theatre.add(PEER + peer % (count - PEER), "guest").ok();
            }
            Blow::Withdraw { by, peer } if theatre.nodes[*by].machine().is_some() => {
                theatre.withdraw(*by, PEER + peer % (count - PEER)).ok();
            }
            Blow::CloseAnswers if theatre.nodes[INITIATOR].machine().is_some() => {
                theatre.decide(INITIATOR, Decision::CloseAnswers).ok();
            }
            Blow::Rebuild if theatre.nodes[PROVIDER].machine().is_some() => {
                theatre.decide(PROVIDER, Decision::Rebuild).ok();
            }
            Blow::RollBack { node } if theatre.nodes[node % count].machine().is_some() => {
                theatre.decide(node % count, Decision::RollBack).ok();
            }
            _ => {}
        }
    }
    rise(&mut theatre, &mut down, Span::from_secs(600));
    theatre.weather = FINE;
    theatre.cut_off.clear();
    theatre.nodes.iter_mut().for_each(|node| node.tear_after = None);
    rise(&mut theatre, &mut down, Span::from_hours(12));
    (theatre, moves)
}

/// Lets time pass, and nodes come up again: those that died of a torn log after three minutes.
fn rise(theatre: &mut Theatre, down: &mut BTreeMap<usize, deployctl::model::Time>, span: Span) {
    let until = theatre.now + span;
    loop {
        for node in 0..theatre.nodes.len() {
            let due = *down.entry(node).or_insert(theatre.now + Span::from_secs(180));
            if theatre.nodes[node].alive {
                down.remove(&node);
            } else if due <= theatre.now {
                down.remove(&node);
                theatre.restart(node);
            }
        }
        if theatre.now >= until {
            return;
        }
        theatre.run_until(until.min(theatre.now + Span::from_secs(90)));
    }
}

/// Whether it came into the log.
fn account_a_move(theatre: &mut Theatre) -> bool {
    let mut usage = Usage::default();
    usage.add("move".parse().unwrap(), Amount { amount: 1.into(), unit: None }).unwrap();
    let accounted = |theatre: &Theatre| theatre.nodes[INITIATOR].log.iter().filter(|record| is_account(record)).count();
    let before = accounted(theatre);
    theatre.decide(INITIATOR, Decision::Account { kind: AccountingKind::Interim, usage }).ok();
    accounted(theatre) > before
}
fn is_account(record: &support::node::Record) -> bool {
    record.0 == "decided" && record.2["decision"] == "account"
}

/// The messages in a log, in order: whether it was sent, and what.
fn messages(node: &Node) -> Vec<(bool, Verified<Message>)> {
    let records = node.log.iter().filter(|(kind, _, _)| kind == "sent" || kind == "received");
    let opened = records.map(|(kind, _, body)| {
        let envelope = serde_json::from_value(body["envelope"].clone()).unwrap();
        (kind == "sent", Verified::open(envelope).unwrap())
    });
    opened.collect()
}

fn assert_safe(theatre: &Theatre) {
    theatre.nodes.iter().for_each(Node::assert_log_tells_state);
    let provider = &theatre.nodes[PROVIDER];
    let mut registered = false;
    let mut accepted: Vec<Key> = Vec::new();
    for (sent, message) in messages(provider) {
        match (&message.body, sent) {
            (Body::ServiceRequest(request), false) => {
                registered = true;
                accepted.push(request.initiator.address.key);
            }
            (Body::Answer(answer), false) if answer.answer == Verdict::Accept => accepted.push(message.head.from),
            (Body::Withdraw(withdraw), true) => accepted.retain(|key| *key != withdraw.peer),
            (Body::Invitation(_), true) => assert!(registered, "an invitation before the request was in the log"),
            (Body::Delivery(_), true) => assert!(accepted.contains(&message.head.to), "delivered, never accepted"),
            _ => {}
        }
    }
    let interfaces =
        messages(&theatre.nodes[INITIATOR]).into_iter().filter(|(_, one)| one.body.kind() == "interface-request");
    let mut known: BTreeSet<_> = interfaces.map(|(_, one)| (one.head.to, one.head.id)).collect();
    for node in &theatre.nodes {
        let received = messages(node).into_iter().filter(|(sent, _)| !sent);
        known.extend(received.map(|(_, message)| (node.me(), message.head.id)));
    }
    for acknowledged in &theatre.acknowledged {
        assert!(known.contains(acknowledged), "an acknowledged message is in no log");
    }
}

/// Every accounting once, in one chain, that adds up to what was metered.
fn assert_books(theatre: &Theatre, moves: u64) {
    let (Some(theirs), Some(ours)) = (&theatre.nodes[PROVIDER].live, &theatre.nodes[INITIATOR].live) else { return };
    assert!(theirs.accounts == ours.accounts, "the books of both sides differ");
    let mut previous = None;
    let mut sums = Usage::default();
    let mut last = None;
    for (number, (sequence, accounting, receipt)) in (1..).zip(&theirs.accounts) {
        assert_eq!(*sequence, number);
        let hash = accounting.hash();
        let message = Verified::open(Envelope::clone(accounting)).unwrap();
        let Body::Accounting(accounting) = &message.body else { panic!("not an accounting") };
        let receipt = Verified::open(Envelope::clone(receipt)).unwrap();
        let Body::Receipt(receipt) = &receipt.body else { panic!("not a receipt") };
        assert_eq!((accounting.previous, receipt.hash, receipt.accepted), (previous, hash, true));
        previous = Some(hash);
        last = Some(accounting.kind);
        for (meter, more) in accounting.usage.iter() {
            sums.add(meter.clone(), more.clone()).unwrap();
        }
    }
    if theatre.state(PROVIDER) == SessionState::Closed {
        assert_eq!(last, Some(AccountingKind::Final));
    }
    if last.is_none() {
        assert_eq!(moves, 0);
        return;
    }
    let readings = theatre.nodes[INITIATOR].log.iter().filter(|(kind, _, _)| kind == "result");
    let readings = readings.filter_map(|(_, _, body)| serde_json::from_value::<Meter>(body["meter"].clone()).ok());
    let metered = readings.fold(Meter::default(), |most, one| most.max(&one)).usage_since(&Meter::default());
    let sum = |usage: &Usage, meter: &str| usage.get(meter).map_or(0.into(), |sum| sum.amount);
    for meter in ["minute", "start"] {
        assert_eq!(sum(&sums, meter), sum(&metered, meter), "{meter}");
    }
    assert_eq!(sum(&sums, "move"), moves.into());
}

fn assert_over(theatre: &Theatre) {
    if let (Some(theirs), Some(ours)) = (theatre.nodes[PROVIDER].state(), theatre.nodes[INITIATOR].state()) {
        assert_eq!(
            theirs == SessionState::Closed,
            ours == SessionState::Closed,
            "{theirs} at the provider, {ours} here"
        );
    }
    for (number, node) in theatre.nodes.iter().enumerate() {
        let Some(live) = &node.live else { continue };
        let summary = node.summary();
        assert!(summary.over && summary.state.is_end(), "{number} is {}, over: {}", summary.state, summary.over);
        assert!(!node.disk && node.running.is_none(), "{number}: software is left, {}", summary.state);
        assert!(live.machine.work().is_empty() && live.machine.wake_at().is_none());
        let waits = live.outbox.iter().filter(|sent| expires(sent).is_none_or(|time| time >= theatre.now)).count();
        assert_eq!(waits, 0, "{number}: messages are left in the outbox");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_session_ends_and_nothing_is_lost_or_counted_twice(plan in plan()) {
        let (theatre, moves) = perform(&plan);
        assert_safe(&theatre);
        assert_over(&theatre);
        assert_books(&theatre, moves);
    }
}
