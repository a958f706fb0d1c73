//! Parties, manifests, agreements, consents, offers, runs, and the decision whether an agreement is in force.
