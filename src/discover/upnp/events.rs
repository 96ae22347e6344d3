//! Events on their way to those who subscribed: a task and a short queue for each, so that one who is slow or gone
//! holds up nobody else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::content::follows_directory;
use super::gena::{Full as NoRoom, event};
use super::service::SERVICES;
use super::stage::{Face, Stage};
use crate::discover::directory::uuid;
use crate::discover::plain::{Url, exchange};

/// Changes are told at most so often (ContentDirectory:1 §2.7), then the latest values.
const MODERATION: Duration = Duration::from_secs(2);
/// Events that wait for one subscriber; who is behind by more is dropped.
const QUEUE: usize = 16;
/// How long one event may take.
const DELIVERY: Duration = Duration::from_secs(4);
/// The answer to an event has nothing to say.
const MAX_ANSWER: usize = 4 << 10;
/// The first event comes after the answer to the subscription, or its SID means nothing yet. hyper does not say when an
/// answer has left; this is far longer than it takes.
const AFTER_ANSWER: Duration = Duration::from_millis(60);

/// Subscribes and queues the initial event, with all variables; gives the SID.
///
/// # Errors
/// There is no room for another one.
pub(super) fn subscribe(
    stage: &Arc<Stage>,
    face: &Arc<Face>,
    service: usize,
    peer: std::net::Ipv4Addr,
    callbacks: Vec<Url>,
    span: Duration,
) -> Result<String, NoRoom> {
    let sid = format!("uuid:{}", uuid(&stage.system.random()));
    let initial = body(stage, face, service);
    let (queue, events) = mpsc::channel(QUEUE);
    let mut subscribers = face.subscribers();
    subscribers.subscriptions.subscribe(sid.clone(), service, peer, callbacks, span, stage.now())?;
    // A new queue holds one event.
    drop(queue.try_send(initial.into()));
    subscribers.queues.insert(sid.clone(), queue);
    drop(subscribers);
    tokio::spawn(deliver(Arc::clone(stage), Arc::downgrade(face), sid.clone(), events));
    Ok(sid)
}

fn body(stage: &Stage, face: &Face, service: usize) -> String {
    let directory = stage.directory();
    let updates = stage.updates().clone();
    event(&stage.view(&directory, &updates, face).evented(SERVICES[service]))
}

/// Hands the events of one subscription over, in their order, until it ends.
async fn deliver(stage: Arc<Stage>, face: std::sync::Weak<Face>, sid: String, mut events: mpsc::Receiver<Arc<str>>) {
    sleep(AFTER_ANSWER).await;
    while let Some(body) = events.recv().await {
        let Some(face) = face.upgrade() else { return };
        let next = face.subscribers().subscriptions.next(&sid, stage.now());
        let Some((sequence, callbacks)) = next else { break };
        let mut taken = false;
        for callback in &callbacks {
            let to = callback.at;
            let Some(request) = notify(callback, &sid, sequence, &body) else { continue };
            let answer = exchange(face.link.ip, to, request, MAX_ANSWER, DELIVERY).await;
            taken = answer.is_some_and(|(status, _)| status.is_success());
            if taken {
                break;
            }
        }
        let mut subscribers = face.subscribers();
        subscribers.subscriptions.delivered(&sid, taken);
        if !subscribers.subscriptions.holds(&sid, stage.now()) {
            subscribers.queues.remove(&sid);
            return;
        }
    }
}

fn notify(callback: &Url, sid: &str, sequence: u32, body: &Arc<str>) -> Option<Request<Full<Bytes>>> {
    let request = Request::builder()
        .method("NOTIFY")
        .uri(&callback.path)
        .header("host", callback.at.to_string())
        .header("content-type", "text/xml; charset=\"utf-8\"")
        .header("nt", "upnp:event")
        .header("nts", "upnp:propchange")
        .header("sid", sid)
        .header("seq", sequence)
        .header("connection", "close");
    request.body(Full::from(body.as_bytes().to_vec())).ok()
}

/// Watches the directory and tells the subscribers on all faces what changed, until the directory is gone.
pub(super) async fn tell_changes(stage: Arc<Stage>, faces: impl Fn() -> Vec<Arc<Face>>) {
    let mut directory = stage.directory.clone();
    let mut before = directory.borrow_and_update().clone();
    let (mut not_before, mut is_due) = (Instant::now(), false);
    loop {
        tokio::select! {
            changed = directory.changed() => {
                if changed.is_err() {
                    return;
                }
                let after = directory.borrow_and_update().clone();
                is_due |= stage.updates().count(&before, &after);
                before = after;
            }
            () = sleep_until(not_before), if is_due => {
                faces().iter().for_each(|face| tell(&stage, face));
                stage.updates().told();
                (not_before, is_due) = (Instant::now() + MODERATION, false);
            }
        }
    }
}

fn tell(stage: &Stage, face: &Face) {
    let bodies: Vec<(usize, Arc<str>)> = (0..SERVICES.len())
        .filter(|service| follows_directory(SERVICES[*service]))
        .map(|service| (service, body(stage, face, service).into()))
        .collect();
    let mut subscribers = face.subscribers();
    let subscribers = &mut *subscribers;
    let now = stage.now();
    subscribers.queues.retain(|sid, queue| {
        let Some(service) = subscribers.subscriptions.service(sid, now) else { return false };
        let Some((_, body)) = bodies.iter().find(|(known, _)| *known == service) else { return true };
        let has_room = queue.try_send(Arc::clone(body)).is_ok();
        if !has_room {
            subscribers.subscriptions.drop_one(sid);
        }
        has_room
    });
}
