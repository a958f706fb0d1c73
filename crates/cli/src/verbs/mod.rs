//! One file per verb: what may be typed, what it means, what is done, and what is said.

pub(crate) mod agree;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod endorsements;
pub(crate) mod evidence;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod offer;
pub(crate) mod open;
mod reference;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod run;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod verify;
