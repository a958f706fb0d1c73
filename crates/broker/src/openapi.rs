//! The description of the API (OpenAPI 3.1), generated from the code: schemas from the types that travel, paths from the table of
//! endpoints.
//!
//! Documents that have a specification of their own (DSSE envelopes, Evidence, agreements, receipts) are objects here.

use utoipa::{
    OpenApi as _,
    openapi::{
        Content, OpenApi, Paths, Ref, RefOr,
        path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        response::ResponseBuilder,
        schema::{ObjectBuilder, Schema, Type},
    },
};
use wire::messages::{self, path};

use crate::api::{ENDPOINTS, LOG_TILE, OPENAPI};

/// The document, as JSON.
pub fn document() -> String {
    let mut document = Schemas::openapi();
    document.info.title = "Glovebox broker".to_owned();
    document.info.description = Some(DESCRIPTION.to_owned());
    document.info.license = None;
    document.paths = paths();
    written(&document)
}

fn written(document: &OpenApi) -> String {
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(
    messages::Accepted,
    messages::Activated,
    messages::Activation,
    messages::AgreementStatus,
    messages::BrokerDescription,
    messages::BrokerEvidence,
    messages::Challenge,
    messages::ChallengeRequest,
    messages::ChallengeUse,
    messages::Consistency,
    messages::EnrolChallenge,
    messages::EnrolProof,
    messages::EnrolRequest,
    messages::Enrolled,
    messages::EvidenceRequest,
    messages::Failed,
    messages::Finished,
    messages::Lease,
    messages::LoggedRecord,
    messages::NextRun,
    messages::Phase,
    messages::Problem,
    messages::Records,
    messages::ReleaseRequest,
    messages::ReleasedKeys,
    messages::RenewRequest,
    messages::RunRefusal,
    messages::RunStatus,
    messages::SecretEntry,
    messages::Secrets,
    messages::Standing,
    messages::WorkOrder,
)))]
struct Schemas;

/// What stands in a body.
#[derive(Clone, Copy)]
enum Body {
    /// A schema of [`Schemas`].
    Of(&'static str),
    /// An array of one.
    Many(&'static str),
    /// A DSSE envelope around this addressed statement.
    Signed(&'static str),
    /// A document with its own specification.
    Document,
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// What is said of an endpoint: who may ask, what is sent, what is answered.
struct Described(&'static str, &'static str, Option<Body>, Body);

fn describe(path: &str) -> Option<Described> {
    use Body::{Bytes, Document, Many, Of, Signed};
    Some(match path {
        path::BROKER => Described(
            "Who the broker is; a hint until its Evidence is appraised",
            ANYONE,
            None,
            Of("BrokerDescription"),
        ),
        path::CHALLENGE => Described("A challenge for Evidence", ANYONE, Some(Of("ChallengeRequest")), Of("Challenge")),
        path::BROKER_EVIDENCE => {
            Described("The broker's own Evidence", ANYONE, Some(Of("EvidenceRequest")), Of("BrokerEvidence"))
        }
        path::BROKER_ACTIVATE => {
            Described("Opens a credential made for the broker's TPM", ANYONE, Some(Of("Activation")), Of("Activated"))
        }
        path::PROPOSALS => {
            Described("Puts an agreement before the broker", PARTY, Some(Signed("Proposal")), Of("AgreementStatus"))
        }
        path::CONSENTS => Described("Consents to an agreement", PARTY, Some(Signed("Consent")), Of("AgreementStatus")),
        path::DEPOSITS => Described("Deposits a data key", PARTY, Some(Signed("Deposit")), Of("Accepted")),
        path::OFFERS => Described("Offers standing terms", PARTY, Some(Signed("Offer")), Of("Accepted")),
        path::REVOCATIONS => Described(
            "Revokes an agreement, an offer, a dataset version or an auditor's document",
            PARTY,
            Some(Signed("Revocation")),
            Of("Accepted"),
        ),
        path::ROTATIONS => Described("Replaces a party's keys", PARTY, Some(Signed("Rotation")), Of("Accepted")),
        path::REFERENCE_VALUES => Described(
            "Brings an auditor's signed Reference Values, whoever has them",
            PARTY,
            Some(Signed("ReferenceDeposit")),
            Of("Accepted"),
        ),
        path::SECRETS => Described("The asker's secrets, without their values", READER, None, Of("Secrets")),
        path::SECRET_PUSHES => {
            Described("Puts a secret into custody", PARTY, Some(Signed("SecretPush")), Of("Accepted"))
        }
        path::SECRET_REMOVALS => Described("Destroys a secret", PARTY, Some(Signed("SecretRemoval")), Of("Accepted")),
        path::SECRET_POLICY => Described(
            "Sets the conditions of the signer's secrets that have none of their own",
            PARTY,
            Some(Signed("SecretPolicy")),
            Of("Accepted"),
        ),
        path::AGREEMENTS => Described("The asker's agreements", READER, None, Many("AgreementStatus")),
        path::AGREEMENT => Described("One agreement of the asker's", READER, None, Of("AgreementStatus")),
        path::RUNS => Described("Asks for a run", PARTY, Some(Signed("Run")), Of("RunStatus")),
        path::RUN => Described("How a run stands", READER, None, Of("RunStatus")),
        path::RESULT => Described("The sealed result, an age file", READER, None, Bytes("application/octet-stream")),
        path::RECEIPT => Described("The receipt of a run", READER, None, Document),
        path::RECORDS => {
            Described("The log's records that concern the asker, from leaf `from` on", READER, None, Of("Records"))
        }
        path::WORKER_ENROL => {
            Described("A credential for the worker's TPM", WORKER, Some(Of("EnrolRequest")), Of("EnrolChallenge"))
        }
        path::WORKER_PROVE => {
            Described("Enrols the worker's attestation key", WORKER, Some(Of("EnrolProof")), Of("Enrolled"))
        }
        path::WORKER_NEXT => Described(
            "The next run; 204 when there was none for 20 seconds",
            WORKER,
            Some(Of("NextRun")),
            Of("WorkOrder"),
        ),
        path::WORKER_RELEASE => {
            Described("The keys of a run, for Evidence", WORKER, Some(Of("ReleaseRequest")), Of("ReleasedKeys"))
        }
        path::WORKER_RENEW => Described("A longer lease, for Evidence", WORKER, Some(Of("RenewRequest")), Of("Lease")),
        path::WORKER_RESULT => Described("A finished run", WORKER, Some(Of("Finished")), Of("Accepted")),
        path::WORKER_FAILED => Described("A run that failed", WORKER, Some(Of("Failed")), Of("Accepted")),
        path::LOG_CHECKPOINT => {
            Described("The newest signed checkpoint (C2SP tlog-checkpoint)", ANYONE, None, Bytes("text/plain"))
        }
        path::LOG_CONSISTENCY => Described("That the log only grew since size `from`", ANYONE, None, Of("Consistency")),
        LOG_TILE => {
            Described("A tile or entry bundle (C2SP tlog-tiles)", ANYONE, None, Bytes("application/octet-stream"))
        }
        OPENAPI => Described("This document", ANYONE, None, Document),
        _ => return None,
    })
}

fn paths() -> Paths {
    let mut paths = Paths::new();
    for (path, method) in ENDPOINTS {
        let Some(Described(summary, who, request, answer)) = describe(path) else { continue };
        let mut operation = OperationBuilder::new()
            .summary(Some(summary))
            .description(Some(who))
            .response("200", ResponseBuilder::new().description("done").content(media(answer), content(answer)))
            .response(
                "default",
                ResponseBuilder::new().description("refused").content("application/json", content(Body::Of("Problem"))),
            );
        for name in parameters(path) {
            let parameter = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(utoipa::openapi::Required::True)
                .schema(Some(text()));
            operation = operation.parameter(parameter);
        }
        if let Some(request) = request {
            let body = RequestBodyBuilder::new().content("application/json", content(request));
            operation = operation.request_body(Some(body.required(Some(utoipa::openapi::Required::True)).build()));
        }
        let method = if *method == "get" { HttpMethod::Get } else { HttpMethod::Post };
        paths.add_path_operation(path.replace("{*", "{"), vec![method], operation.build());
    }
    paths
}

fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_start_matches('*'))
}

fn media(body: Body) -> &'static str {
    match body {
        Body::Bytes(media) => media,
        Body::Of(_) | Body::Many(_) | Body::Signed(_) | Body::Document => "application/json",
    }
}

fn content(body: Body) -> Content {
    let schema: RefOr<Schema> = match body {
        Body::Of(name) => RefOr::Ref(Ref::from_schema_name(name)),
        Body::Many(name) => RefOr::T(Schema::Array(utoipa::openapi::Array::new(Ref::from_schema_name(name)))),
        Body::Signed(name) => described(format!("DSSE envelope around an in-toto statement: an addressed `{name}`")),
        Body::Document => described("a document with a specification of its own".to_owned()),
        Body::Bytes(_) => text(),
    };
    Content::new(Some(schema))
}

fn described(words: String) -> RefOr<Schema> {
    RefOr::T(ObjectBuilder::new().schema_type(Type::Object).description(Some(words)).into())
}

fn text() -> RefOr<Schema> {
    RefOr::T(ObjectBuilder::new().schema_type(Type::String).into())
}

const DESCRIPTION: &str = "Everything with an effect is a signed, addressed statement, used once. Reads by parties are signed as RFC 9421 \
describes. Workers show a TLS client certificate issued by the signing key that their Evidence binds.";
const ANYONE: &str = "Anyone may ask.";
const PARTY: &str = "A party states this: signed, addressed to this broker, used once, good for at most ten minutes.";
const READER: &str = "A party reads this: signed as RFC 9421 describes.";
const WORKER: &str = "A worker asks for this, over a connection with its certificate.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn every_endpoint_is_described() {
        for (path, _) in ENDPOINTS {
            assert!(describe(path).is_some(), "{path}");
        }
    }

    #[test]
    fn the_document_that_is_checked_in_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(checked_in == document(), "run `cargo run -p broker -- openapi > docs/openapi.json`");
    }
}
