//! How long each state may last (architecture: who does what).

use crate::model::Span;

/// An interface serves one service request, so long after it was given out.
pub const INTERFACE_VALID: Span = Span::from_hours(1);
/// How long an interface request is worth answering.
pub const INTERFACE_REQUEST_VALID: Span = Span::from_secs(10 * 60);
/// `request --answer-within` where none is given.
pub const ANSWER_WITHIN: Span = Span::from_hours(1);
/// `request --lasts` where none is given.
pub const LASTS: Span = Span::from_hours(8);
/// Building all packages of a session.
pub const BUILDING: Span = Span::from_secs(30 * 60);
/// From the delivery until the required participants have installed.
pub const DELIVERING: Span = Span::from_secs(10 * 60);
/// From the start until the required participants have confirmed.
pub const STARTING: Span = Span::from_secs(10 * 60);
/// From the end of the service until all is removed and accounted for.
pub const TERMINATING: Span = Span::from_hours(1);
