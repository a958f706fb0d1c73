//! The files that people write. Each file under `vectors/toml` has a header (`kind:`, `expect:` and the whole message) and, after a
//! line of dashes, the text that is read. Set `GLOVEBOX_BLESS=1` to write the messages anew, and read the difference.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use agreement::{documents::*, toml::*};
use attest::{AppraisalPolicy, PolicyDocument, reference::AuditorRule};
use common::*;
use envelope::{Digest, canonical};
use proptest::prelude::*;

#[test]
fn every_vector_is_read_or_refused_in_these_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/toml");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 30, "only {} vectors", paths.len());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (header, body) = text.split_once("\n-----\n").unwrap();
        let (kind, expected) = header.split_once("\nexpect:").unwrap();
        let found = match kind {
            "kind: rules" => {
                RulesFile::parse("file.toml", body.as_bytes()).and_then(|rules| rules.apply(&table())).map(|_| ())
            }
            "kind: agreement" => AgreementFile::parse("file.toml", body.as_bytes(), read).map(|_| ()),
            other => panic!("{path:?}: {other}"),
        };
        let forged = expected.contains("does not verify") || expected.contains(" is signed by ");
        assert_eq!(found.as_ref().is_err_and(agreement::toml::TomlError::is_refusal), forged, "{path:?}");
        let found = found.map_or_else(|error| error.to_string(), |()| "read".to_owned());
        if std::env::var_os("GLOVEBOX_BLESS").is_some() {
            fs::write(&path, format!("{kind}\nexpect:\n{found}\n-----\n{body}")).unwrap();
        } else {
            assert_eq!(expected.trim_start_matches('\n'), found, "{path:?}");
        }
    }
}

/// The table that the vectors' rules are for.
fn table() -> Vec<SourceColumn> {
    let column = |name: &str, kind| SourceColumn { name: name.into(), kind, nullable: false };
    vec![
        column("patient_id", ColumnType::Bigint),
        column("arm", ColumnType::Text),
        column("cd4", ColumnType::Double),
        column("name", ColumnType::Text),
    ]
}

/// The files beside the vectors' agreements.
fn read(path: &str) -> Result<Vec<u8>, String> {
    let room = Room::proposed();
    let json = |bytes: Result<Vec<u8>, canonical::CanonicalError>| bytes.map_err(|error| error.to_string());
    match path {
        "hospital.identity" => Ok(format!("{}\n", identity(&hospital())).into_bytes()),
        "registry.identity" => Ok(identity(&registry()).to_string().into_bytes()),
        "university.identity" => Ok(identity(&university()).to_string().into_bytes()),
        "lab.identity" => Ok(identity(&stranger()).to_string().into_bytes()),
        "broken.identity" => Ok(b"glovebox1.abc".to_vec()),
        "hospital.manifest.json" => json(canonical::to_vec(room.manifests[0].envelope())),
        "registry.manifest.json" => json(canonical::to_vec(room.manifests[1].envelope())),
        "altered.manifest.json" => {
            let mut envelope = room.manifests[0].envelope().clone();
            envelope.payload = room.manifests[1].envelope().payload.clone();
            json(canonical::to_vec(&envelope))
        }
        "elsewhere.manifest.json" => {
            let manifest = Manifest { broker: stranger().public(), ..manifest_of("hospital", &hospital().public(), 1) };
            let signed = envelope::statement::Signed::sign(manifest, &hospital()).unwrap();
            json(canonical::to_vec(signed.envelope()))
        }
        "by-arm.sql" => Ok(SQL.as_bytes().to_vec()),
        "hidden.sql" => Ok("SELECT 1 -- \u{202e}".as_bytes().to_vec()),
        "broker.json" => json(canonical::to_vec(&room.agreement.broker)),
        "workers.json" => json(canonical::to_vec(&room.agreement.workers)),
        "audited.json" => {
            let rule = AuditorRule { keys: [registry().public()].into(), required: 1, pcrs: [8].into() };
            let document = PolicyDocument { auditors: Some(rule), ..policy_document("worker") };
            json(canonical::to_vec(&AppraisalPolicy::new(document).unwrap()))
        }
        "authority.pem" => Ok(AUTHORITY.as_bytes().to_vec()),
        "not-json.json" => Ok(b"{".to_vec()),
        _ => Err("it does not exist".to_owned()),
    }
}

#[test]
fn rules_become_columns_in_the_tables_order() {
    let text = "[dataset]\nname = \"admissions\"\nmin_entities = 10\nmax_rows_per_entity = 2\nother_columns = \"hidden\"\n\
                [columns]\ncd4 = { rule = \"measure\", lower = -1, upper = 2000.5, type = \"double\" }\n\
                patient_id = { rule = \"entity\", domain = \"patient\" }\n";
    let rules = RulesFile::parse("r.toml", text.as_bytes()).unwrap();
    assert_eq!(rules.name(), "admissions");
    assert_eq!(rules.types(), BTreeMap::from([("cd4", ColumnType::Double)]));
    let Contents::Table { columns, rules } = rules.apply(&table()).unwrap() else { panic!("a table") };
    assert_eq!(rules, TableRules { min_entities: 10, max_rows_per_entity: 2 });
    let found: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.rule.clone())).collect();
    assert_eq!(
        found,
        [
            ("patient_id", ColumnRule::Entity { domain: "patient".into() }),
            ("arm", ColumnRule::Hidden {}),
            ("cd4", ColumnRule::Measure { lower: -1.0, upper: 2000.5 }),
            ("name", ColumnRule::Hidden {}),
        ]
    );
}

const AGREEMENT: &str = r#"
name = "readmissions"
purpose = "compare the arms of a trial"
expires = 2027-06-30T00:00:00Z
[parties]
hospital = "hospital.identity"
registry = "registry.identity"
university = "university.identity"
[datasets.hospital]
owner = "hospital"
manifest = "hospital.manifest.json"
[datasets.registry]
owner = "registry"
manifest = "registry.manifest.json"
[computations.by-arm]
sql_file = "by-arm.sql"
recipients = ["university"]
[broker]
file = "broker.json"
[workers]
file = "workers.json"
[witnesses]
required = 1
keys = ["w1+00000001+AAAA", "w2+00000002+BBBB"]
[release]
tick_ms = 1000
lease_seconds = 60
max_result_bytes = 1048576
"#;

#[test]
fn an_agreement_file_becomes_the_agreement_that_it_describes() {
    let expected = Room::proposed().agreement;
    let draft = AgreementFile::parse("a.toml", AGREEMENT.as_bytes(), read).unwrap();
    assert_eq!(draft.manifests().len(), 2);
    let columns = BTreeMap::from([("by-arm".to_owned(), expected.computations["by-arm"].columns.clone())]);
    assert_eq!(draft.clone().with_columns(BTreeMap::new()), Err(DraftError::NotDerived("by-arm".into())));
    assert_eq!(draft.with_columns(columns).unwrap().agreement(), &expected);
}

#[test]
fn spelt_out_broker_and_policies_equal_the_files() {
    let policy = |role: &str| {
        format!(
            "roots = [\"authority.pem\"]\nendorsement_keys = [\"{}\"]\nbinaries = [\"{}\"]\n\
             reference_values = [{{ pcr = 7, values = [\"{}\"] }}]\n",
            Digest::of(b"endorsement key"),
            Digest::of(role.as_bytes()),
            "ab".repeat(32)
        )
    };
    let key = broker().public();
    let text = AGREEMENT
        .replace(
            "file = \"broker.json\"",
            &format!(
                "key = \"{key}\"\nlog = \"{LOG}\"\naddress = \"127.0.0.1:7143\"\n[broker.policy]\n{}",
                policy("broker")
            ),
        )
        .replace("file = \"workers.json\"", &policy("worker"));
    let draft = AgreementFile::parse("a.toml", text.as_bytes(), read).unwrap();
    let expected = Room::proposed().agreement;
    assert_eq!((&draft.agreement().broker, &draft.agreement().workers), (&expected.broker, &expected.workers));
}

#[test]
fn series_and_versions_can_be_named_by_digest() {
    let series = Room::proposed().manifests[0].value().series().unwrap();
    let by_file = AGREEMENT.replacen("manifest = \"hospital", "series = \"hospital", 1);
    let by_digest = AGREEMENT.replacen("manifest = \"hospital.manifest.json\"", &format!("series = \"{series}\""), 1);
    for text in [by_file, by_digest] {
        let draft = AgreementFile::parse("a.toml", text.as_bytes(), read).unwrap();
        assert_eq!(draft.agreement().datasets["hospital"].source, DatasetSource::Series(series));
    }
}

#[test]
fn line_endings_do_not_change_a_program() {
    let windows = AGREEMENT.replace('\n', "\r\n");
    let draft = AgreementFile::parse("a.toml", windows.as_bytes(), read).unwrap();
    assert_eq!(draft.agreement().computations["by-arm"].digest(), Room::proposed().run().program);
}

#[test]
fn deep_nesting_and_large_files_are_refused() {
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(matches!(RulesFile::parse("r.toml", deep.as_bytes()).unwrap_err().problem, Problem::Syntax(_)));
    let large = vec![b'#'; (512 << 10) + 1];
    assert_eq!(RulesFile::parse("r.toml", &large).unwrap_err().problem, Problem::TooLarge((512 << 10) + 1));
    assert_eq!(RulesFile::parse("r.toml", b"a = \"\xff\"").unwrap_err().problem, Problem::NotText);
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in ".{0,200}") {
        let _ = RulesFile::parse("r.toml", text.as_bytes()).map_err(|error| error.to_string());
        let _ = AgreementFile::parse("a.toml", text.as_bytes(), read).map_err(|error| error.to_string());
    }

    #[test]
    fn no_change_of_a_byte_makes_the_reader_panic(at in 0..AGREEMENT.len(), byte: u8) {
        let mut bytes = AGREEMENT.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = AgreementFile::parse("a.toml", &bytes, read).map_err(|error| error.to_string());
    }
}

#[test]
fn the_examples_of_the_specification_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/agreement.md");
    let text = fs::read_to_string(path).unwrap();
    let mut blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    RulesFile::parse("example", blocks.next().unwrap().as_bytes()).unwrap();
    for block in blocks {
        AgreementFile::parse("example", block.as_bytes(), read).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn what_narrows_hardware_is_refused_where_it_means_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/agreement.md");
    let text = fs::read_to_string(path).unwrap();
    let block = text.split("```toml\n").map(|rest| rest.split("```").next().unwrap());
    let example = block.into_iter().find(|block| block.contains("[[workers.hardware]]")).unwrap();
    let line = "generations = [\"genoa\", \"turin\"]";
    for (other, words) in [
        ("generations = [\"rome\"]", "a generation"),
        ("generations = 3", "a list"),
        ("evaluation_floor = 18", "`evaluation_floor` is for tdx alone"),
    ] {
        let text = example.replacen(line, other, 1);
        assert_ne!(text, example);
        let error = AgreementFile::parse("example", text.as_bytes(), read).unwrap_err().to_string();
        assert!(error.contains(words), "{other}: {error}");
    }
}
