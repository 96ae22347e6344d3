//! `status --watch`: what changes, as it changes.

use std::time::Duration;

use super::{describe, list};
use crate::cli::leaving::Asked;
use crate::cli::shell::Shell;
use crate::model::{Party, Result, SessionId};
use crate::roles::Node;
use crate::session::Summary;
use crate::ui::escape::{escape_block, escape_line};

/// How often the logs' ends are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Moves up by some lines, to the first column, and clears from there on (ECMA-48: CPL, ED).
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Until Ctrl-C; one session until it is over, or until nobody reads any more.
pub(super) fn watch(node: &Node, session: Option<&str>, shell: &Shell) -> Result<()> {
    let mut screen = Screen { redraws: shell.ui.terminals().stdout && !shell.ui.is_json(), drawn: 0 };
    let mut before: Vec<Summary> = Vec::new();
    let watching = async {
        let mut is_first = true;
        loop {
            let parts = match session {
                Some(prefix) => node.parts_of(prefix)?.1,
                None => node.parts()?,
            };
            let now: Vec<_> = parts.into_iter().map(|part| part.summary).collect();
            if is_first || now != before {
                screen.show(&before, &now, session.is_some(), shell)?;
            }
            let is_over = session.is_some() && now.iter().all(|one| one.over);
            if is_over || shell.ui.has_reader_left() {
                return Ok(());
            }
            (before, is_first) = (now, false);
            tokio::time::sleep(LOOK).await;
        }
    };
    shell.run_or(watching, Asked::watched)
}

struct Screen {
    /// A person sees it: drawn again in the same place.
    redraws: bool,
    /// Lines that are there.
    drawn: usize,
}

impl Screen {
    fn show(&mut self, before: &[Summary], now: &[Summary], is_one: bool, shell: &Shell) -> Result<()> {
        if self.redraws {
            return self.redraw(now, is_one, shell);
        }
        for one in changed(before, now) {
            shell.ui.data(one, || line(one, shell))?;
        }
        Ok(())
    }
    fn redraw(&mut self, now: &[Summary], is_one: bool, shell: &Shell) -> Result<()> {
        let at = shell.system.now();
        let text = match is_one {
            true => now.iter().map(|summary| describe(summary, at)).collect::<Vec<_>>().join("\n"),
            false if now.is_empty() => "no sessions".to_owned(),
            false => list(now),
        };
        let text = escape_block(text.trim_end()).into_owned();
        let back = match self.drawn {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}F{CLEAR_BELOW}"),
        };
        self.drawn = text.lines().count();
        shell.ui.verbatim(&format!("{back}{text}\n"))
    }
}

/// Those that are new or other than before.
fn changed<'a>(before: &[Summary], now: &'a [Summary]) -> impl Iterator<Item = &'a Summary> {
    let key = |one: &Summary| -> (SessionId, Party) { (one.session, one.party) };
    now.iter().filter(move |one| before.iter().find(|known| key(known) == key(one)) != Some(*one))
}

fn line(one: &Summary, shell: &Shell) -> String {
    let who: Vec<_> = one.participants.iter().map(|who| format!("{} {}", who.name, who.state)).collect();
    let reason = one.reason.as_ref().map(|reason| format!(": {}", escape_line(reason))).unwrap_or_default();
    let time = shell.system.now();
    let all = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
    format!("{time} {} {} as {}: {}{reason}{all}", one.session.short(), one.service, one.party, one.state)
}
