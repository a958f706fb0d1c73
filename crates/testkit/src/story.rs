//! One run, told from the manifests to the receipt, with places to say something else.

use std::collections::{BTreeMap, BTreeSet};

use agreement::documents::{Agreement, Consent, Manifest, Offer, ResultStatement, Rotation, Run};
use attest::{
    Evidence, TpmEvidence,
    binding::{BindingParts, ChannelKeys, Purpose},
    events::Event,
    reference::ReferenceValues,
    tpm::Enrolment,
};
use envelope::{
    Digest, SigningKey, canonical,
    statement::{Addressed, Envelope, Predicate, Signed},
};
use jiff::SignedDuration;
use receipt::{AgreementInForce, Attested, Format, Grounds, Logged, Receipt, Released};
use tlog::{Commitment, LogSigner, LogTree};

use crate::{Room, now, room::fixed};

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Something that concerns others.
    Other,
    /// A consent, by its place in the list.
    Consent(usize),
    /// An offer.
    Offer(usize),
    /// A rotation.
    Rotation(usize),
    /// A document of an auditor.
    Values(usize),
    /// The statement of force.
    InForce,
    /// The run.
    Run,
    /// The worker's enrolment.
    Enrolment,
    /// The release.
    Released,
    /// The result.
    Result,
}

/// Statements with the keys that sign them.
pub type Said<T> = Vec<(T, SigningKey)>;

/// What is said differently, at the moment when it is said. Everything that follows takes it for true.
pub struct Twists {
    /// Manifests and their signers.
    pub manifests: fn(&Room, &mut Said<Manifest>),
    /// The agreement.
    pub agreement: fn(&Room, &mut Agreement),
    /// Consents to the agreement of this digest.
    pub consents: fn(&Room, &Digest, &mut Said<Addressed<Consent>>),
    /// Offers.
    pub offers: fn(&Room, &mut Said<Addressed<Offer>>),
    /// Rotations.
    pub rotations: fn(&Room, &mut Said<Addressed<Rotation>>),
    /// Documents of auditors and their signers. None by default, as the agreement asks for none.
    pub values: fn(&Room, &mut Said<ReferenceValues>),
    /// The statement of force and its signer.
    pub in_force: fn(&Room, &mut AgreementInForce, &mut SigningKey),
    /// The run and its signer.
    pub run: fn(&Room, &mut Addressed<Run>, &mut SigningKey),
    /// The enrolment and its signer.
    pub enrolment: fn(&Room, &mut Enrolment, &mut SigningKey),
    /// What the worker's TPM quotes.
    pub quoted: fn(&Room, &mut BindingParts),
    /// What the receipt, and the broker's release, say that it quoted.
    pub shown: fn(&Room, &mut BindingParts),
    /// The Evidence, after it was signed.
    pub evidence: fn(&Room, &mut TpmEvidence),
    /// The release and its signer.
    pub released: fn(&Room, &mut Released, &mut SigningKey),
    /// The result and its signer.
    pub result: fn(&Room, &mut Addressed<ResultStatement>, &mut SigningKey),
    /// The order of the log.
    pub order: fn(&mut Vec<Slot>),
    /// Who signs the checkpoint.
    pub log: fn(&Room) -> LogSigner,
}

impl Default for Twists {
    fn default() -> Twists {
        Twists {
            manifests: |_, _| {},
            agreement: |_, _| {},
            consents: |_, _, _| {},
            offers: |_, _| {},
            rotations: |_, _| {},
            values: |_, _| {},
            in_force: |_, _, _| {},
            run: |_, _, _| {},
            enrolment: |_, _, _| {},
            quoted: |_, _| {},
            shown: |_, _| {},
            evidence: |_, _| {},
            released: |_, _, _| {},
            result: |_, _, _| {},
            order: |_| {},
            log: |room| room.log.clone(),
        }
    }
}

impl Room {
    /// The receipt of a run in which everything is right.
    pub fn receipt(&mut self) -> Receipt {
        self.twisted(&Twists::default())
    }

    /// The receipt of a run in which something is not.
    pub fn twisted(&mut self, twists: &Twists) -> Receipt {
        let mut manifests: Said<Manifest> =
            self.manifests().into_iter().zip([self.hospital.signing.clone(), self.registry.signing.clone()]).collect();
        (twists.manifests)(self, &mut manifests);
        let manifests: Vec<Entry> = manifests.into_iter().map(|(manifest, key)| Entry::new(manifest, &key)).collect();
        let mut agreement = self.agreement();
        (twists.agreement)(self, &mut agreement);
        let digest = agreement.digest().unwrap();
        let (consents, offers, rotations) = self.grounds(twists, &agreement, &digest);
        let mut values = Vec::new();
        (twists.values)(self, &mut values);
        let values = entries(values);
        let in_force = self.in_force(twists, &digest, &consents, &offers);
        let run = self.run(twists, &digest, &manifests);
        let enrolment = self.enrolment(twists);
        let (evidence, binding) = self.evidence_of(twists, &digest, &run.digest);
        let (released, result) = self.end(twists, &digest, &run, &enrolment, &evidence, &binding, &manifests, &values);

        let mut order = vec![Slot::Other, Slot::Enrolment];
        order.extend((0..rotations.len()).map(Slot::Rotation));
        order.extend((0..consents.len()).map(Slot::Consent));
        order.extend((0..offers.len()).map(Slot::Offer));
        order.extend((0..values.len()).map(Slot::Values));
        order.extend([Slot::Other, Slot::InForce, Slot::Run, Slot::Released, Slot::Other, Slot::Result, Slot::Other]);
        (twists.order)(&mut order);
        let mut entries: BTreeMap<Slot, &Entry> = BTreeMap::from([
            (Slot::InForce, &in_force),
            (Slot::Run, &run),
            (Slot::Enrolment, &enrolment),
            (Slot::Released, &released),
            (Slot::Result, &result),
        ]);
        entries.extend(consents.iter().enumerate().map(|(index, entry)| (Slot::Consent(index), entry)));
        entries.extend(offers.iter().enumerate().map(|(index, entry)| (Slot::Offer(index), entry)));
        entries.extend(rotations.iter().enumerate().map(|(index, entry)| (Slot::Rotation(index), entry)));
        entries.extend(values.iter().enumerate().map(|(index, entry)| (Slot::Values(index), entry)));
        let log = Log::of(&order, &entries, &(twists.log)(self));
        let all = |of: fn(usize) -> Slot, entries: &[Entry]| {
            entries.iter().enumerate().map(|(index, entry)| log.logged(of(index), entry)).collect::<Vec<_>>()
        };
        Receipt {
            format: Format::V1,
            grounds: Grounds {
                agreement,
                manifests: manifests.into_iter().map(|entry| entry.envelope).collect(),
                consents: all(Slot::Consent, &consents),
                offers: all(Slot::Offer, &offers),
                rotations: all(Slot::Rotation, &rotations),
                reference_values: all(Slot::Values, &values),
                in_force: log.logged(Slot::InForce, &in_force),
                run: log.logged(Slot::Run, &run),
                checkpoint: log.checkpoint.clone(),
            },
            enrolment: log.logged(Slot::Enrolment, &enrolment),
            worker: Attested { evidence: Evidence::Tpm(evidence), binding },
            released: log.logged(Slot::Released, &released),
            rules: RULES.to_owned(),
            result: log.logged(Slot::Result, &result),
        }
    }

    /// The digest of the result file.
    pub fn output(&self) -> Digest {
        Digest::of(b"a sealed result")
    }

    /// A statement to this broker.
    pub fn addressed<T>(&self, label: &str, body: T) -> Addressed<T> {
        let expires = now() + SignedDuration::from_mins(5);
        Addressed { audience: self.broker.public(), nonce: fixed(label), expires, body }
    }

    fn grounds(&self, twists: &Twists, agreement: &Agreement, digest: &Digest) -> (Vec<Entry>, Vec<Entry>, Vec<Entry>) {
        let consent = Consent { agreement: *digest, broker_ak: self.broker_machine.ak_digest() };
        let mut consents: Said<Addressed<Consent>> = [&self.hospital, &self.university]
            .map(|party| (self.addressed(party.name, consent.clone()), party.signing.clone()))
            .into();
        (twists.consents)(self, digest, &mut consents);
        let mut offers = vec![(self.addressed("offer", self.offer(agreement)), self.registry.signing.clone())];
        (twists.offers)(self, &mut offers);
        let mut rotations = Vec::new();
        (twists.rotations)(self, &mut rotations);
        (entries(consents), entries(offers), entries(rotations))
    }

    fn in_force(&self, twists: &Twists, digest: &Digest, consents: &[Entry], offers: &[Entry]) -> Entry {
        let of = |entries: &[Entry], index: usize| entries.get(index).map_or(fixed_digest(), |entry| entry.digest);
        let mut stated = AgreementInForce {
            agreement: *digest,
            grounds: BTreeMap::from([
                ("hospital".to_owned(), of(consents, 0)),
                ("university".to_owned(), of(consents, 1)),
                ("registry".to_owned(), of(offers, 0)),
            ]),
            since: now() - SignedDuration::from_mins(10),
        };
        let mut key = self.broker.clone();
        (twists.in_force)(self, &mut stated, &mut key);
        Entry::new(stated, &key)
    }

    fn run(&self, twists: &Twists, digest: &Digest, manifests: &[Entry]) -> Entry {
        let agreement = self.agreement();
        let program = agreement.computations["by-arm"].digest();
        let versions = ["admissions", "outcomes"].into_iter().zip(manifests);
        let versions = versions.map(|(name, manifest)| (name.to_owned(), manifest.digest)).collect();
        let run = Run { agreement: *digest, computation: "by-arm".to_owned(), program, versions };
        let (mut run, mut key) = (self.addressed("run", run), self.university.signing.clone());
        (twists.run)(self, &mut run, &mut key);
        Entry::new(run, &key)
    }

    fn enrolment(&self, twists: &Twists) -> Entry {
        let (reset_count, restart_count) = self.worker_machine.counts;
        let keys = self.worker_machine.claim().clone();
        let (mut enrolment, mut key) = (Enrolment { keys, reset_count, restart_count }, self.broker.clone());
        (twists.enrolment)(self, &mut enrolment, &mut key);
        Entry::new(enrolment, &key)
    }

    fn evidence_of(&mut self, twists: &Twists, agreement: &Digest, run: &Digest) -> (TpmEvidence, BindingParts) {
        let salt = fixed("salt of the run").0;
        self.worker_machine.log.append(&Event::run(&[1; 32], &Digest::of(b"an earlier run")));
        self.worker_machine.log.append(&Event::run(&salt, run));
        let right = self.binding(Purpose::WorkerRelease { agreement: *agreement, run: *run });
        let (mut quoted, mut shown) = (right.clone(), right);
        (twists.quoted)(self, &mut quoted);
        (twists.shown)(self, &mut shown);
        let mut evidence = self.worker_machine.evidence(&quoted, Some(salt));
        (twists.evidence)(self, &mut evidence);
        (evidence, shown)
    }

    /// The worker's keys on a connection, for some purpose.
    pub fn binding(&self, purpose: Purpose) -> BindingParts {
        BindingParts {
            purpose,
            keys: ChannelKeys {
                channel: vec![1; 91],
                encapsulation: self.decapsulation.public().as_bytes().to_vec(),
                signing: *self.worker.public().as_bytes(),
            },
            exporter: [4; 32],
            nonce: [5; 32],
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is a chapter that came before")]
    fn end(
        &self,
        twists: &Twists,
        agreement: &Digest,
        run: &Entry,
        enrolment: &Entry,
        evidence: &TpmEvidence,
        binding: &BindingParts,
        manifests: &[Entry],
        values: &[Entry],
    ) -> (Entry, Entry) {
        let columns = [["arm", "patient"], ["died", "patient"]].map(|names| BTreeSet::from(names.map(str::to_owned)));
        let lease = fixed("lease");
        let mut released = Released {
            run: run.digest,
            agreement: *agreement,
            columns: manifests.iter().map(|manifest| manifest.digest).zip(columns).collect(),
            binding: Digest::from_bytes(*binding.bind().sha256()),
            evidence: canonical::digest(&Evidence::Tpm(evidence.clone())).unwrap(),
            enrolment: enrolment.digest,
            lease,
            appraised: now(),
            reference_values: values.iter().map(|entry| entry.digest).collect(),
        };
        let mut key = self.broker.clone();
        (twists.released)(self, &mut released, &mut key);
        let released = Entry::new(released, &key);
        let stated = ResultStatement {
            run: run.digest,
            plan: Digest::of(b"a guarded plan"),
            rules: Digest::of(RULES.as_bytes()),
            output: self.output(),
            bytes: 1_024,
            lease,
        };
        let (mut result, mut key) = (self.addressed("result", stated), self.worker.clone());
        (twists.result)(self, &mut result, &mut key);
        (released, Entry::new(result, &key))
    }
}

/// A signed statement, ready to be logged.
struct Entry {
    kind: &'static str,
    digest: Digest,
    envelope: Envelope,
}

impl Entry {
    fn new<T: Predicate>(value: T, key: &SigningKey) -> Entry {
        let signed = Signed::sign(value, key).unwrap();
        Entry { kind: T::TYPE, digest: *signed.digest(), envelope: signed.envelope().clone() }
    }
}

struct Log {
    tree: LogTree,
    leaves: BTreeMap<Slot, u64>,
    checkpoint: String,
}

impl Log {
    fn of(order: &[Slot], entries: &BTreeMap<Slot, &Entry>, signer: &LogSigner) -> Log {
        let (mut tree, mut leaves) = (LogTree::new(), BTreeMap::new());
        for (index, slot) in order.iter().enumerate() {
            let commitment = match entries.get(slot) {
                Some(entry) => Commitment::new(entry.kind, &entry.digest, &salt(*slot)),
                None => Commitment::new("other", &fixed_digest(), &[index as u8; 32]),
            };
            leaves.insert(*slot, tree.append(commitment).unwrap());
        }
        let checkpoint = tree.checkpoint(signer).unwrap();
        let checkpoint = String::from_utf8(checkpoint.as_bytes().to_vec()).unwrap();
        Log { tree, leaves, checkpoint }
    }

    /// The statement with its proof; one that was never logged gets the proof of the first leaf.
    fn logged(&self, slot: Slot, entry: &Entry) -> Logged {
        let leaf = self.leaves.get(&slot).copied().unwrap_or(0);
        let proof = self.tree.prove_inclusion(self.tree.size(), leaf).unwrap();
        Logged { statement: entry.envelope.clone(), salt: envelope::text::Bytes32(salt(slot)), proof }
    }
}

fn entries<T: Predicate>(said: Said<T>) -> Vec<Entry> {
    said.into_iter().map(|(value, key)| Entry::new(value, &key)).collect()
}

fn salt(slot: Slot) -> [u8; 32] {
    fixed(&format!("salt of {slot:?}")).0
}

fn fixed_digest() -> Digest {
    Digest::of(b"something else")
}

const RULES: &str = r#"{"rules":"as checked"}"#;
