//! Every message between nodes: its fields and limits, the signed envelope it travels in, and the proof that it was
//! verified.

mod base64;
pub mod body;
pub mod enrol;
pub mod envelope;
pub mod kind;
pub mod program;
pub mod rotate;
pub mod secret;
mod strict;
pub mod verified;

pub use body::{
    Accounting, AccountingKind, AddPeers, Answer, CloseAnswers, Delivery, Failure, Interface, InterfaceRequest,
    Invitation, Invitee, Leave, Notification, OnFailure, PackageRef, Person, Progress, Quorum, Receipt, Registration,
    Report, ReportState, ServiceId, ServiceRequest, ServiceWanted, Start, Terminate, Verdict, Withdraw, Withdrawn,
};
pub use enrol::{Enrol, Enrolled};
pub use envelope::{Envelope, SigningKey};
pub use kind::{Body, Head, Message};
pub use program::{ProgramDelivery, ProgramReport, ProgramRequest};
pub use rotate::{Rotate, Rotated};
pub use secret::{Commitment, Secret, Secrets};
pub use verified::Verified;
