//! The demo from beginning to end, each act a step that is told.

use std::path::PathBuf;

use serde_json::Value;

use super::proof::{Before, installed, left_behind, size};
use super::services::Show;
use super::stage::{Stage, failed};
use super::{FIRST_PEER, INITIATOR, PROVIDER};
use crate::model::Result;
use crate::node::port;
use crate::store::{file, tree};
use crate::ui::table::table;

/// Plays everything; returns the session and its final statement.
pub(super) async fn all(stage: &mut Stage, show: Show) -> Result<(String, Value)> {
    identities(stage).await?;
    trust(stage).await?;
    let before = before(stage, show)?;
    list(stage).await?;
    let session = request(stage, show, &before).await?;
    answers(stage, &session).await?;
    running(stage, &session).await?;
    look(stage, show, &session).await?;
    interim(stage, show, &session).await?;
    stop(stage, &session).await?;
    let statement = final_statement(stage, &session).await?;
    verify(stage, &session).await?;
    nothing_left(stage, &session, &before).await?;
    stage.story.step("Everybody: the nodes end");
    stage.end_nodes().await?;
    let left = crate::process::pid::users_of(stage.scratch.path());
    match left.first() {
        None => Ok((session, statement)),
        Some(one) => Err(failed(format!("{one} goes on when all nodes have ended"))),
    }
}

async fn identities(stage: &mut Stage) -> Result<()> {
    stage.story.step("Everybody: a key of one's own, and a node that listens on the loopback interface");
    for party in 0..stage.parties.len() {
        let name = stage.parties[party].name.clone();
        stage.run(party, &["init", "--name", &name]).await?;
        stage.serve(party).await?;
        if let Some(address) = stage.parties[party].address.clone() {
            stage.story.meet(address.key, &name);
            stage.story.say(format!("{name}: {address}"));
        }
    }
    Ok(())
}

async fn trust(stage: &mut Stage) -> Result<()> {
    stage.story.step("Everybody: says whom to trust, and with what; nobody else may do anything");
    let mut pairs = vec![(PROVIDER, INITIATOR, Some("request")), (INITIATOR, PROVIDER, Some("provide"))];
    let last = stage.parties.len() - 1;
    for peer in FIRST_PEER..=last {
        pairs.push((INITIATOR, peer, None));
        pairs.push((peer, PROVIDER, Some("provide")));
        pairs.push((peer, INITIATOR, Some(if peer == last { "invite" } else { "invite,auto-accept" })));
    }
    for (who, whom, may) in pairs {
        let (name, address) = (stage.parties[whom].name.clone(), stage.parties[whom].address()?);
        let mut command = vec!["trust", "add", &name, &address];
        command.extend(may.iter().flat_map(|may| ["--may", may]));
        stage.run(who, &command).await?;
        let who = stage.parties[who].name.clone();
        stage.story.say(format!("{who}: {name} may {}", may.unwrap_or("nothing here, but has an address")));
    }
    Ok(())
}

/// How it was before: what is installed nowhere can be compared with what is left at the end.
fn before(stage: &Stage, show: Show) -> Result<Before> {
    let installs = stage.parties[INITIATOR..].iter().map(installed).collect::<Result<_>>()?;
    let port = if show.listens() { Some(port::free()?) } else { None };
    Ok(Before { installs, port })
}

async fn list(stage: &mut Stage) -> Result<()> {
    stage.story.step("anna: asks shop what it offers");
    let listed = stage.run(INITIATOR, &["request", "--provider", "shop", "--list"]).await?;
    for service in listed["services"].as_array().into_iter().flatten() {
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
        stage.story.say(format!("shop: {} {}: {}", text("name"), text("version"), text("summary")));
    }
    Ok(())
}

async fn request(stage: &mut Stage, show: Show, before: &Before) -> Result<String> {
    let peers: Vec<_> = stage.parties[FIRST_PEER..].iter().map(|peer| peer.name.clone()).collect();
    stage.story.step(format!("anna: requests {} together with {}", show.name(), peers.join(", ")));
    let set = before.port.map(|port| format!("port={port}"));
    let mut command = vec!["request", show.name(), "--provider", "shop", "--wait", "registered"];
    command.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
    command.extend(set.iter().flat_map(|set| ["--set", set]));
    let summary = stage.run(INITIATOR, &command).await?;
    let session = summary["session"].as_str().ok_or_else(|| failed("the request has no session"))?.to_owned();
    stage.story.say(format!("shop: registered as session {session}"));
    Ok(session)
}

async fn answers(stage: &mut Stage, session: &str) -> Result<()> {
    let last = stage.parties.len() - 1;
    let name = stage.parties[last].name.clone();
    let others = if last > FIRST_PEER { "; the others do so by what they said of anna" } else { "" };
    stage.story.step(format!("{name}: looks at the invitation and accepts it by hand{others}"));
    let invitation = loop {
        let listed = stage.run(last, &["accept", "--list"]).await?;
        let all = listed["invitations"].as_array();
        let open = all.into_iter().flatten().find(|one| one["session"] == session && one["state"] == "open");
        match open.and_then(|one| one["invitation"].as_str()) {
            Some(id) => break id.to_owned(),
            None => stage.listen_a_moment().await?,
        }
    };
    stage.story.say(format!("{name}: $ deployctl accept {} --yes", invitation.chars().take(8).collect::<String>()));
    stage.run(last, &["accept", &invitation, "--yes"]).await?;
    Ok(())
}

async fn running(stage: &mut Stage, session: &str) -> Result<()> {
    stage.story.step("shop builds, delivers; everybody installs, confirms, and starts when all are ready");
    let runs = |status: &Value| status["state"] == "running" && all_participants(status, "confirmed");
    let over = |status: &Value| status["over"] == true || status["state"] == "terminating";
    stage.until(session, runs, over).await
}

fn all_participants(status: &Value, state: &str) -> bool {
    status["participants"].as_array().is_some_and(|all| all.iter().all(|one| one["state"] == state))
}

/// Shows what is there, and what a peer gets to see.
async fn look(stage: &mut Stage, show: Show, session: &str) -> Result<()> {
    let name = stage.parties[FIRST_PEER].name.clone();
    stage.story.step(format!("{name}: what is there now, and what there is to see"));
    for party in INITIATOR..stage.parties.len() {
        let (files, bytes) = size(&installed(&stage.parties[party])?);
        let who = stage.parties[party].name.clone();
        if files == 0 {
            return Err(failed(format!("at {who} nothing is installed, though it runs")));
        }
        stage.story.say(format!("{who}: {files} files, {bytes} bytes in installs/"));
    }
    let state = stage.parties[FIRST_PEER].state_dir()?;
    let (path, expected) = match show {
        Show::Chat => (data(stage, FIRST_PEER, show, session)?.join("heard.txt"), talk(stage, show, session)?),
        Show::Site => (data(stage, FIRST_PEER, show, session)?.join("seen.json"), "\"status\": 200".to_owned()),
        Show::Notice => (state.run().join(format!("{session}.peer")).join("output.log"), "notice: ".to_owned()),
    };
    let mut seen = tree::read_text(&path)?;
    // What is said in a chat comes when it comes; the demo's own limit bounds it.
    while show == Show::Chat && !seen.contains(&expected) {
        stage.listen_a_moment().await?;
        seen = tree::read_text(&path)?;
    }
    for line in seen.lines().take(8) {
        stage.story.say(format!("{name} sees: {line}"));
    }
    if !seen.contains(&expected) {
        return Err(failed(format!("{name} sees nothing of the service: {} holds {seen:?}", path.display())));
    }
    Ok(())
}

/// The data folder of a participant's role.
fn data(stage: &Stage, party: usize, show: Show, session: &str) -> Result<PathBuf> {
    let (initiator, peer) = show.roles();
    let role = if party == INITIATOR { initiator } else { peer };
    Ok(stage.parties[party].state_dir()?.installs().join("sessions").join(session).join(role).join("data"))
}

/// The last of them says something in the chat room; returns how it is heard.
fn talk(stage: &mut Stage, show: Show, session: &str) -> Result<String> {
    let last = stage.parties.len() - 1;
    let name = stage.parties[last].name.clone();
    let line = "Good to be here.";
    file::write_atomic(
        &data(stage, last, show, session)?.join("say.txt"),
        format!("{line}\n").as_bytes(),
        file::PRIVATE,
    )?;
    stage.story.say(format!("{name}: $ echo \"{line}\" >> data/say.txt"));
    Ok(format!("{name}: {line}\n"))
}

async fn interim(stage: &mut Stage, show: Show, session: &str) -> Result<()> {
    stage.story.step("anna: accounts for what was used so far; shop countersigns");
    let usage = show.usage(stage.parties.len() - FIRST_PEER);
    let mut command = vec!["account", session, "--interim"];
    command.extend(usage.iter().flat_map(|usage| ["--usage", usage]));
    stage.run(INITIATOR, &command).await?;
    let statement = same_statement(stage, session).await?;
    stage.story.say(format!("so far {} {}", text(&statement, "total"), text(&statement, "currency")));
    Ok(())
}

/// The statement of the Initiator and of the provider, which must be the same.
async fn same_statement(stage: &mut Stage, session: &str) -> Result<Value> {
    let here = stage.run(INITIATOR, &["account", session]).await?;
    let there = stage.run(PROVIDER, &["account", session]).await?;
    if here == there {
        return Ok(here);
    }
    Err(failed(format!("the statements of anna and shop differ: {here} and {there}")))
}

async fn stop(stage: &mut Stage, session: &str) -> Result<()> {
    stage.story.step("anna: ends it; everywhere the programs stop and the software is removed");
    stage.run(INITIATOR, &["stop", session, "--reason", "the demo is over"]).await?;
    let gone = |status: &Value| status["over"] == true && all_participants(status, "removed");
    let failed = |status: &Value| status["state"] == "failed";
    stage.until(session, gone, failed).await
}

async fn final_statement(stage: &mut Stage, session: &str) -> Result<Value> {
    stage.story.step("anna and shop: the final statement, the same at both");
    let statement = same_statement(stage, session).await?;
    if statement["closed"] != true {
        return Err(failed("the account is still open after the end"));
    }
    let lines = statement["lines"].as_array().cloned().unwrap_or_default();
    let fields = ["meter", "amount", "unit", "price", "cost"];
    let mut rows: Vec<Vec<_>> =
        lines.iter().map(|line| fields.iter().map(|field| text(line, field)).collect()).collect();
    rows.push(vec![
        "total".into(),
        String::new(),
        String::new(),
        text(&statement, "currency"),
        text(&statement, "total"),
    ]);
    stage.story.show(&table(&["METER", "AMOUNT", "UNIT", "PRICE", "COST"], &rows));
    Ok(statement)
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

async fn verify(stage: &mut Stage, session: &str) -> Result<()> {
    stage.story.step("Everybody: checks one's own records from the files alone");
    for party in 0..stage.parties.len() {
        let verified = stage.run(party, &["verify", session]).await?;
        let one = &verified["verified"][0];
        let who = &stage.parties[party].name;
        let line = format!("{who}: {} records chained, {} signatures right", one["records"], one["signatures"]);
        stage.story.say(line);
    }
    Ok(())
}

async fn nothing_left(stage: &mut Stage, session: &str, before: &Before) -> Result<()> {
    stage.story.step("Everybody: is anything left?");
    let left = left_behind(stage, session, before).await?;
    if !left.is_empty() {
        return Err(failed(format!("left behind:\n{}", left.join("\n"))));
    }
    for party in INITIATOR..stage.parties.len() {
        let who = stage.parties[party].name.clone();
        stage.story.say(format!("{who}: installs/ is file by file as it was before; no package, no run folder"));
    }
    stage.story.say("no process of the service runs");
    if let Some(port) = before.port {
        stage.story.say(format!("port {port} is free again"));
    }
    Ok(())
}
