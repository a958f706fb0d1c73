//! The highest number that was seen of everything that Intel numbers.
//!
//! Each schedule has its own floor, or whoever asks for the early one would make the standard one useless until it has caught up. The
//! early one is never behind the standard one, so the standard one's floor binds it too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::object::{ObjectId, Update};

/// By object; as JSON, an object of names and numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Floors(BTreeMap<ObjectId, u32>);

impl Floors {
    /// What an object's number may not be below; 0 if nothing was seen.
    pub fn of(&self, id: &ObjectId) -> u32 {
        id.bound_by().iter().filter_map(|id| self.0.get(id).copied()).max().unwrap_or_default()
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number was seen. Lower ones change nothing.
    pub(crate) fn raise(&mut self, id: &ObjectId, number: u32) {
        if id.numbered().is_some() {
            let floor = self.0.entry(id.clone()).or_default();
            *floor = number.max(*floor);
        }
    }

    /// What another process has seen was seen.
    pub(crate) fn merge(&mut self, other: &Floors) {
        for (id, number) in &other.0 {
            self.raise(id, *number);
        }
    }
}

impl ObjectId {
    /// The schedule of what Intel numbers; `None` for everything else.
    const fn numbered(&self) -> Option<Update> {
        match self {
            ObjectId::TcbInfo { update, .. } | ObjectId::QeIdentity { update, .. } => Some(*update),
            ObjectId::PckCrl(_)
            | ObjectId::RootCaCrl
            | ObjectId::Vcek { .. }
            | ObjectId::AmdChain { .. }
            | ObjectId::AmdCrl { .. }
            | ObjectId::Rim(_) => None,
        }
    }

    /// The objects whose highest number binds this one.
    pub(crate) fn bound_by(&self) -> Vec<ObjectId> {
        let update = Update::Standard;
        match (self.numbered(), self) {
            (None, _) => Vec::new(),
            (Some(Update::Early), ObjectId::TcbInfo { tee, fmspc, .. }) => {
                vec![self.clone(), ObjectId::TcbInfo { tee: *tee, fmspc: *fmspc, update }]
            }
            (Some(Update::Early), ObjectId::QeIdentity { tee, .. }) => {
                vec![self.clone(), ObjectId::QeIdentity { tee: *tee, update }]
            }
            (Some(_), _) => vec![self.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_only_rise_and_the_early_schedule_does_not_bind_the_standard_one() {
        let id = |name: &str| name.parse::<ObjectId>().unwrap();
        let (standard, early) = (id("tdx/qe"), id("tdx/qe/early"));
        let mut floors = Floors::default();
        floors.raise(&early, 18);
        floors.raise(&early, 16);
        floors.raise(&id("sgx/crl/root"), 99);
        assert_eq!((floors.of(&standard), floors.of(&early), floors.of(&id("sgx/qe"))), (0, 18, 0));
        floors.raise(&standard, 19);
        assert_eq!((floors.of(&standard), floors.of(&early)), (19, 19));
        let mut other = Floors::default();
        other.raise(&standard, 17);
        other.raise(&id("sgx/qe"), 5);
        floors.merge(&other);
        assert_eq!((floors.of(&standard), floors.of(&id("sgx/qe"))), (19, 5));
        let text = serde_json::to_string(&floors).unwrap();
        assert_eq!(text, r#"{"sgx/qe":5,"tdx/qe":19,"tdx/qe/early":18}"#);
        assert_eq!(serde_json::from_str::<Floors>(&text).unwrap(), floors);
    }
}
