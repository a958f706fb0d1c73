//! A broker that lies in one thing at a time: no lie makes an `AttestedBroker`, so nothing is ever wrapped to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{convert::Infallible, sync::Arc};

use attest::{
    AppraisalError, AppraisalPolicy, ChainFault, Evidence, PolicyDocument,
    binding::{BindingParts, ChannelKeys, Purpose},
    credential::MadeCredential,
    tpm::AkFault,
};
use bytes::Bytes;
use envelope::{Digest, SigningKey, canonical, text, wrap::DecapsulationKey};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use jiff::Timestamp;
use testkit::{Authority, Machine, Room};
use tokio::{net::TcpListener, sync::Mutex};
use wire::{
    attested::{AttestedBroker, BrokerError},
    channel::{LeafIdentity, Peer},
    client::{Broker, ClientError},
    messages::{Activated, Activation, BrokerDescription, BrokerEvidence, EvidenceRequest, Problem, path},
    server::{Bounds, serve},
};

/// A broker of this process, with places to lie.
struct Fake {
    signing: SigningKey,
    decapsulation: DecapsulationKey,
    machine: Machine,
    describe: fn(&Fake, &mut BrokerDescription),
    activate: fn(&Fake, Option<Vec<u8>>) -> Vec<u8>,
    /// What its TPM quotes, seeing the parts as they are.
    quote: fn(&Fake, &mut BindingParts),
    /// The Evidence, once it is signed.
    show: fn(&Fake, &BindingParts, &mut Evidence),
    /// A whole answer in place of the Evidence.
    instead: Option<(StatusCode, &'static str)>,
}

impl Fake {
    fn new(authority: &Authority) -> Fake {
        Fake {
            signing: SigningKey::from_seed(&[20; 32]),
            decapsulation: DecapsulationKey::from_seed(&[50; 32]),
            machine: Machine::new(authority, "broker"),
            describe: |_, _| {},
            activate: |_, secret| secret.unwrap_or_else(|| vec![0; 32]),
            quote: |_, _| {},
            show: |_, _, _| {},
            instead: None,
        }
    }

    fn description(&self) -> BrokerDescription {
        let claim = self.machine.claim();
        let mut description = BrokerDescription {
            key: self.signing.public(),
            log: "glovebox.example/log+00000000+AA==".to_owned(),
            encapsulation: self.decapsulation.public().clone(),
            ak_public: claim.ak_public.clone(),
            ek_public: claim.ek_public.clone(),
            ek_chain: claim.ek_certificates.clone(),
            version: "0".to_owned(),
            time: Timestamp::now(),
        };
        (self.describe)(self, &mut description);
        description
    }

    fn answer(&self, peer: &Peer, method: &Method, path: &str, body: &[u8]) -> Vec<u8> {
        match (method, path) {
            (&Method::GET, path::BROKER) => canonical::to_vec(&self.description()).unwrap(),
            (&Method::POST, path::BROKER_ACTIVATE) => {
                let Activation { id_object, encrypted_secret } = serde_json::from_slice(body).unwrap();
                let secret = self.machine.activate(&MadeCredential { id_object, encrypted_secret });
                canonical::to_vec(&Activated { secret: text::Bytes((self.activate)(self, secret)) }).unwrap()
            }
            (&Method::POST, path::BROKER_EVIDENCE) => {
                let request: EvidenceRequest = serde_json::from_slice(body).unwrap();
                let mut parts = BindingParts {
                    purpose: Purpose::BrokerDeposit { party: *request.asker.as_bytes() },
                    keys: ChannelKeys {
                        channel: peer.server_spki.to_vec(),
                        encapsulation: self.decapsulation.public().as_bytes().to_vec(),
                        signing: *self.signing.public().as_bytes(),
                    },
                    exporter: peer.exporter,
                    nonce: request.nonce.0,
                };
                (self.quote)(self, &mut parts);
                let mut evidence = Evidence::Tpm(self.machine.evidence(&parts, None));
                (self.show)(self, &parts, &mut evidence);
                canonical::to_vec(&BrokerEvidence { evidence, keys: parts.keys }).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn start(fake: Arc<Fake>, leaf: Arc<LeafIdentity>) -> String {
    let (listener, address) = listener().await;
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let fake = fake.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let (status, answer) = match fake.instead {
                Some((status, answer)) if parts.uri.path() == path::BROKER_EVIDENCE => {
                    (status, answer.as_bytes().to_vec())
                }
                _ => {
                    let peer = parts.extensions.get::<Peer>().unwrap();
                    (StatusCode::OK, fake.answer(peer, &parts.method, parts.uri.path(), &body))
                }
            };
            Ok::<_, Infallible>(Response::builder().status(status).body(Full::new(Bytes::from(answer))).unwrap())
        }
    });
    tokio::spawn(async move { serve(listener, &leaf, Bounds::default(), service, std::future::pending()).await });
    address
}

/// Somebody between both ends who shows `leaf` and passes everything on to the true broker.
async fn relay(to: String, key: envelope::PublicKey, leaf: Arc<LeafIdentity>) -> String {
    let (listener, address) = listener().await;
    let beyond = Arc::new(Mutex::new(Broker::connect(&to, &key, None).await.unwrap()));
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let beyond = beyond.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut beyond = beyond.lock().await;
            let answer: serde_json::Value = match parts.method {
                Method::GET => beyond.get(parts.uri.path(), None).await.unwrap(),
                _ => {
                    let question: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    beyond.post(parts.uri.path(), &question).await.unwrap()
                }
            };
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(serde_json::to_vec(&answer).unwrap()))))
        }
    });
    tokio::spawn(async move { serve(listener, &leaf, Bounds::default(), service, std::future::pending()).await });
    address
}

fn leaf(signing: &SigningKey) -> Arc<LeafIdentity> {
    Arc::new(LeafIdentity::broker(signing, Timestamp::now()).unwrap())
}

async fn appraise(
    address: &str,
    key: &envelope::PublicKey,
    policy: &AppraisalPolicy,
) -> Result<AttestedBroker, BrokerError> {
    let mut connection = Broker::connect(address, key, None).await.unwrap();
    let description: BrokerDescription = connection.get(path::BROKER, None).await.unwrap();
    let asker = SigningKey::from_seed(&[1; 32]).public();
    AttestedBroker::appraise(&mut connection, &description, policy, &asker, Timestamp::now()).await
}

async fn asked(authority: &Authority, fake: Fake) -> Result<AttestedBroker, BrokerError> {
    let policy = authority.policy(&fake.machine);
    let (key, leaf) = (fake.signing.public(), leaf(&fake.signing));
    let address = start(Arc::new(fake), leaf).await;
    appraise(&address, &key, &policy).await
}

#[tokio::test]
async fn an_honest_broker_is_attested_and_opens_what_is_wrapped_to_it() {
    let authority = Authority::new("a maker of TPMs");
    let fake = Fake::new(&authority);
    let (ak, decapsulation) = (fake.machine.ak_digest(), fake.decapsulation.clone());
    let attested = asked(&authority, fake).await.unwrap();
    assert_eq!(*attested.ak(), ak);
    assert_eq!(attested.result().role(), "broker");
    let wrapped = attested.wrap(b"a key", "deposit", b"context").unwrap();
    assert_eq!(decapsulation.unwrap(&wrapped, "deposit", b"context").unwrap().as_slice(), b"a key");
}

/// One lie, and the refusal it meets.
macro_rules! lies {
    ($($name:ident: $field:ident = $lie:expr => $error:pat,)*) => {$(
        #[tokio::test]
        async fn $name() {
            let authority = Authority::new("a maker of TPMs");
            let refused = asked(&authority, Fake { $field: $lie, ..Fake::new(&authority) }).await.unwrap_err();
            assert!(matches!(refused, $error), "{refused:?}");
        }
    )*};
}

lies! {
    another_encapsulation_key_is_described_than_was_bound:
        describe = |_, description| description.encapsulation = DecapsulationKey::from_seed(&[51; 32]).public().clone()
        => BrokerError::Appraisal(AppraisalError::Binding),
    another_encapsulation_key_is_bound_than_was_described:
        quote = |_, parts| parts.keys.encapsulation = DecapsulationKey::from_seed(&[51; 32]).public().as_bytes().to_vec()
        => BrokerError::Appraisal(AppraisalError::Binding),
    another_signing_key_is_described:
        describe = |_, description| description.key = SigningKey::from_seed(&[21; 32]).public()
        => BrokerError::Other,
    another_signing_key_is_bound:
        quote = |_, parts| parts.keys.signing = *SigningKey::from_seed(&[21; 32]).public().as_bytes()
        => BrokerError::Appraisal(AppraisalError::Binding),
    c1_evidence_of_another_connection:
        quote = |_, parts| parts.exporter = [9; 32] => BrokerError::Appraisal(AppraisalError::Binding),
    c1_evidence_of_another_leaf:
        quote = |_, parts| parts.keys.channel[20] ^= 1 => BrokerError::Appraisal(AppraisalError::Binding),
    a3_evidence_for_an_earlier_nonce:
        quote = |_, parts| parts.nonce = [9; 32] => BrokerError::Appraisal(AppraisalError::Binding),
    evidence_that_was_asked_for_by_another_party:
        quote = |_, parts| parts.purpose = Purpose::BrokerDeposit { party: [9; 32] }
        => BrokerError::Appraisal(AppraisalError::Binding),
    c3_evidence_that_a_worker_gave_for_a_release:
        quote = |_, parts| {
            parts.purpose = Purpose::WorkerRelease { agreement: Digest::of(b"a"), run: Digest::of(b"r") };
        }
        => BrokerError::Appraisal(AppraisalError::Binding),
    c3_evidence_that_a_worker_gave_to_be_enrolled:
        quote = |fake, parts| parts.purpose = Purpose::WorkerEnrol { ak_name: fake.machine.ak_name() }
        => BrokerError::Appraisal(AppraisalError::Binding),
    p1_the_wrong_secret_comes_back:
        activate = |_, _| vec![7; 32] => BrokerError::Appraisal(AppraisalError::NotActivated),
    p1_half_of_the_secret_comes_back:
        activate = |_, secret| secret.unwrap()[..16].to_vec() => BrokerError::Appraisal(AppraisalError::NotActivated),
    p1_no_secret_comes_back:
        activate = |_, _| Vec::new() => BrokerError::Appraisal(AppraisalError::NotActivated),
    p1_ak_of_another_tpm_fails_activation:
        describe = |_, description| description.ak_public = Room::new().broker_machine.claim().ak_public.clone()
        => BrokerError::Appraisal(AppraisalError::NotActivated),
    p1_certificate_of_another_endorsement_key:
        describe = |_, description| description.ek_chain = Room::new().broker_machine.claim().ek_certificates.clone()
        => BrokerError::Appraisal(AppraisalError::CertificateKey),
    no_certificate_at_all:
        describe = |_, description| description.ek_chain.clear() => BrokerError::Appraisal(AppraisalError::Certificate),
    p2_a_key_that_signs_anything:
        describe = |_, description| description.ak_public.0[5] &= !0x01
        => BrokerError::Appraisal(AppraisalError::AttestationKey(AkFault::NotRestricted)),
    evidence_by_another_key_than_was_activated:
        show = |_, parts, evidence| *evidence = Evidence::Tpm(Room::new().broker_machine.evidence(parts, None))
        => BrokerError::Appraisal(AppraisalError::Signature),
    evidence_with_a_flipped_signature:
        show = |_, _, evidence| {
            let Evidence::Tpm(evidence) = evidence else { panic!("a TPM's") };
            *evidence.signature.last_mut().unwrap() ^= 1;
        }
        => BrokerError::Appraisal(AppraisalError::Signature),
    a_refusal_is_told_as_one:
        instead = Some((StatusCode::SERVICE_UNAVAILABLE, r#"{"code":"fenced","hint":null,"message":"not now\u001b[2J"}"#))
        => BrokerError::Client(ClientError::Refused(Problem { .. })),
    a7_evidence_of_an_unknown_kind:
        instead = Some((StatusCode::OK, r#"{"evidence":{"kind":"simulator"},"keys":{}}"#))
        => BrokerError::Client(ClientError::Answer(_)),
    an_answer_without_evidence:
        instead = Some((StatusCode::NO_CONTENT, "")) => BrokerError::Client(ClientError::Answer(_)),
}

#[tokio::test]
async fn h7_what_a_broker_says_cannot_move_the_cursor() {
    let authority = Authority::new("a maker of TPMs");
    let instead = Some((StatusCode::FORBIDDEN, r#"{"code":"fenced","hint":"wait\u001b]0;x","message":"no\u001b[2J"}"#));
    let refused = asked(&authority, Fake { instead, ..Fake::new(&authority) }).await.unwrap_err().to_string();
    assert!(
        refused.contains("no\u{fffd}[2J") && refused.contains("\nhint: wait") && !refused.contains('\u{1b}'),
        "{refused}"
    );
}

#[tokio::test]
async fn c1_a_relay_with_a_leaf_of_its_own_gains_nothing() {
    let authority = Authority::new("a maker of TPMs");
    let fake = Fake::new(&authority);
    let (policy, key) = (authority.policy(&fake.machine), fake.signing.public());
    let genuine = start(Arc::new(fake), leaf(&SigningKey::from_seed(&[20; 32]))).await;
    // With another signing key the connection is refused.
    let stranger = relay(genuine.clone(), key, leaf(&SigningKey::from_seed(&[22; 32]))).await;
    let refused = Broker::connect(&stranger, &key, None).await;
    assert!(matches!(refused, Err(ClientError::NotThatBroker { .. })));
    // With the broker's own signing key, stolen, the Evidence is of the other session.
    let thief = relay(genuine, key, leaf(&SigningKey::from_seed(&[20; 32]))).await;
    let refused = appraise(&thief, &key, &policy).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Appraisal(AppraisalError::Binding)), "{refused:?}");
}

#[tokio::test]
async fn c2_a_relay_with_the_leaked_tls_key_gains_nothing() {
    let authority = Authority::new("a maker of TPMs");
    let fake = Fake::new(&authority);
    let (policy, key, leaked) = (authority.policy(&fake.machine), fake.signing.public(), leaf(&fake.signing));
    let genuine = start(Arc::new(fake), leaked.clone()).await;
    assert!(appraise(&genuine, &key, &policy).await.is_ok());
    // The leaf is the very same; only the exporter of the session differs.
    let thief = relay(genuine, key, leaked).await;
    let refused = appraise(&thief, &key, &policy).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Appraisal(AppraisalError::Binding)), "{refused:?}");
}

#[tokio::test]
async fn a_policy_that_the_machine_does_not_meet_refuses_it() {
    let (authority, other) = (Authority::new("a maker of TPMs"), Authority::new("another maker"));
    let fake = Fake::new(&authority);
    let key = fake.signing.public();
    let right = authority.policy(&fake.machine);
    let with = |change: fn(&mut PolicyDocument)| {
        let mut document = PolicyDocument::from(right.clone());
        change(&mut document);
        AppraisalPolicy::new(document).unwrap()
    };
    let unlisted = with(|document| document.tpm.endorsement_keys = attest::EndorsementKeys::Listed(Vec::new()));
    let other_binary = with(|document| document.tpm.binaries = vec![Digest::of(b"a newer broker")]);
    let other_role = with(|document| document.tpm.role = "worker".try_into().unwrap());
    let other_root = other.policy(&fake.machine);
    let leaf = leaf(&fake.signing);
    let address = start(Arc::new(fake), leaf).await;
    let refusal = async |policy: &AppraisalPolicy| match appraise(&address, &key, policy).await {
        Err(BrokerError::Appraisal(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refusal(&unlisted).await, AppraisalError::EndorsementKeyNotListed(_)));
    assert!(matches!(refusal(&other_root).await, AppraisalError::Chain(ChainFault::UnknownIssuer)));
    assert!(matches!(refusal(&other_binary).await, AppraisalError::RoleBinary(_)));
    assert!(matches!(refusal(&other_role).await, AppraisalError::Role { .. }));
}
