//! The KBS protocol, spoken by a client that was written from its description alone: `kbs_client.py`, with tpm2-tools on a software TPM of
//! its own and a stock JOSE library. The room, its parties and the enrolment are real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod room;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use room::Room;
use serde_json::{Value, json};

/// A software TPM that tpm2-tools reach, on two ports in a row.
struct Swtpm {
    process: Child,
    port: u16,
}

impl Swtpm {
    fn start(state: &Path) -> Swtpm {
        fs::create_dir_all(state).unwrap();
        for port in (20_000..60_000).step_by(1_111).map(|base| base + (std::process::id() % 1_000) as u16) {
            let free = [port, port + 1].map(|port| TcpListener::bind(("127.0.0.1", port)));
            if free.iter().any(Result::is_err) {
                continue;
            }
            drop(free);
            let process = Command::new("swtpm")
                .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
                .arg(format!("dir={}", state.display()))
                .args(["--server", &format!("type=tcp,port={port},bindaddr=127.0.0.1")])
                .args(["--ctrl", &format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1)])
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(500));
            return Swtpm { process, port };
        }
        panic!("no two ports are free");
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What this test needs beside a room; `None`, with the reason printed, where it is missing (a failure in CI).
fn python() -> Option<PathBuf> {
    let venv = std::env::var("GLOVEBOX_VENV").map_or_else(
        |_| PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache/glovebox/venv"),
        PathBuf::from,
    );
    let python = venv.join("bin/python");
    let has_jose = Command::new(&python).args(["-c", "import joserfc"]).status().is_ok_and(|status| status.success());
    let has_tools = Command::new("tpm2_quote").arg("--version").output().is_ok();
    if has_jose && has_tools {
        return Some(python);
    }
    let reason = "skipped: needs tpm2-tools and scripts/python-env.sh";
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("{reason}");
    None
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story")]
fn a_client_written_from_the_description_attests_with_a_tpm_and_reads_a_secret() {
    let Some(python) = python() else { return };
    let Some(mut room) = Room::start() else { return };
    room.down();
    room.up(&["--kbs-listen", "127.0.0.1:0"]);
    let kbs = room.kbs.clone().unwrap();
    fs::write(room.path("authority.pem"), kbs["authority"].as_str().unwrap()).unwrap();
    let swtpm = Swtpm::start(&room.path("tpm-of-a-client"));
    room.init(&["hospital", "stranger"]);

    // Before its key is enrolled, the machine proves nothing; the key does not exist either.
    let tpm = format!("tcp:127.0.0.1:{}", swtpm.port);
    let enrolled: Value = serde_json::from_str(
        &room
            .does("hospital", &["--json", "secret", "enrol", "--tpm", &tpm, "--out", "keys", "--broker", &room.broker]),
    )
    .unwrap();
    let hardware = enrolled["hardware_id"].as_str().unwrap();

    fs::write(room.path("value"), "the secret of the hospital").unwrap();
    let admits = format!(
        "@id(\"this machine\")\npermit(principal, action, resource) when {{\n  context.result.tee == \"tpm\" &&\n  \
         context.result has hardware_id && context.result.hardware_id == \"{hardware}\"\n}};\n"
    );
    fs::write(room.path("admits.cedar"), &admits).unwrap();
    fs::write(room.path("denies.cedar"), admits.replace(hardware, "sha256:another")).unwrap();
    fs::write(room.path("misspelled.cedar"), admits.replace(".tee ", ".te ")).unwrap();
    let push = |path: &str, policy: &str| {
        room.party(
            "hospital",
            &["secret", "push", path, "--file", "value", "--policy", policy, "--broker", "room/broker.json"],
        )
    };
    for (path, policy) in [("hospital/key/1", "admits.cedar"), ("hospital/key/denied", "denies.cedar")] {
        let outcome = push(path, policy);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(!outcome.stdout.contains("the secret of"), "{outcome:?}");
    }
    let outcome = push("hospital/key/3", "misspelled.cedar");
    assert_ne!(outcome.status, 0);
    assert!(outcome.stderr.contains("line 3, column"), "{outcome:?}");
    let checked = ["secret", "check", "hospital/key/1", "--file", "value", "--broker", room.broker.as_str()];
    assert!(room.does("hospital", &checked).contains("the same"));
    room.is_refused("stranger", &checked, "there is no secret");
    let token = |party: &str| room.does(party, &["secret", "token", "--broker", &room.broker]).trim().to_owned();

    let (host, port) = kbs["address"].as_str().unwrap().split_once(':').unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kbs_client.py");
    let began = Instant::now();
    let output = Command::new(python)
        .arg(script)
        .args([host, port])
        .arg(room.path("authority.pem"))
        .arg(format!("swtpm:host=127.0.0.1,port={}", swtpm.port))
        .arg(room.path("keys"))
        .env("OWNER_TOKEN", token("hospital"))
        .env("STRANGER_TOKEN", token("stranger"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{said}in {:?}", began.elapsed());
    let cases: BTreeMap<String, Value> = said
        .lines()
        .map(|line| {
            let mut case: Value = serde_json::from_str(line).unwrap();
            let name = case["case"].take();
            case.as_object_mut().unwrap().remove("case");
            (name.as_str().unwrap().to_owned(), case)
        })
        .collect();
    let is = |name: &str, expected: Value| assert_eq!(cases[name], expected, "{name}");
    let unattested = json!(["TokenNotFound", "not attested: there is no session and no token that holds"]);
    is("unattested", json!({ "status": 401, "error": unattested }));
    is(
        "version",
        json!({ "status": 401, "detail": "KBS Client Protocol Version Mismatch: expect =0.4.0 while the request is 0.3.0" }),
    );
    is("sample", json!({ "status": 401, "detail": "`sample` Evidence is signed by no hardware, and proves nothing" }));
    is("unserved", json!({ "status": 401, "detail": "`se` Evidence is not examined by this broker" }));
    is("cookie", json!({ "attributes": ["HttpOnly", "Max-Age", "Path", "SameSite", "Secure"], "nonce": 44 }));
    is(
        "wrong nonce",
        json!({ "status": 401, "error": ["AttestationError", "the nonce is not the one of this session"] }),
    );
    is("other quote", json!({ "status": 401, "error": "AttestationError" }));
    is("swapped key", json!({ "status": 401, "error": "AttestationError" }));
    is("attest", json!({ "status": 200, "parts": 3 }));
    is("replay", json!({ "status": 401, "error": ["AttestationError", "the nonce of this session was used before"] }));
    let secret = json!({ "status": 200, "secret": "the secret of the hospital" });
    for name in ["secret by cookie", "secret by token", "P-521", "RSA"] {
        is(name, secret.clone());
    }
    is("denied", json!({ "status": 403, "error": ["PolicyDeny", "the release is denied by the owner's policy"] }));
    is("missing", json!({ "status": 404, "error": ["ResourceNotFound", "there is no such resource"] }));
    is("no path", json!({ "status": 404, "error": "InvalidRequestPath" }));
    is("no plugin", json!({ "status": 404, "error": "PluginNotFound" }));
    for name in ["h3 path", "h3 duplicate", "h3 deep"] {
        is(name, json!({ "status": 400, "error": "SerdeError" }));
    }
    is("h8", json!({ "same": true }));
    is("parallel", json!({ "tokens": 1, "refused": 7 }));
    is("admin push", json!({ "status": 200 }));
    is("admin takes", json!({ "status": 403, "error": "PluginInternalError" }));
    is("h8 admin", json!({ "same": true, "status": 404 }));
    is("no conditions", json!({ "status": 403 }));
    is("admin policy", json!({ "status": 200 }));
    is("pushed", json!({ "status": 200, "secret": "00707573686564" }));
    assert_eq!(cases["admin misspells"]["status"], 400);
    is("admin list", json!({ "status": 200, "paths": ["hospital/key/1", "hospital/key/2", "hospital/key/denied"] }));
    is("stranger lists", json!({ "status": 200, "paths": [] }));
    is("admin delete", json!({ "status": 200, "then": 404 }));
    is("token is no administrator's", json!({ "status": 401, "error": "AdminAuthAccess" }));

    // The owner learns which policy denied, and what was not met; the log has every effect.
    let listed = room.does("hospital", &["secret", "list", "--broker", &room.broker]);
    assert!(listed.contains("denied last: policy `this machine`: not met: "), "{listed}");
    assert!(!listed.contains("the secret of"), "{listed}");
    room.does("hospital", &["secret", "delete", "hospital/key/1", "--broker", &room.broker]);
    room.is_refused("hospital", &["secret", "delete", "hospital/key/1", "--broker", &room.broker], "there is nothing");
    let said = fs::read_to_string(room.path("room/broker/log")).unwrap();
    for canary in ["the secret of", "kbs-session-id", "hospital/key", "eyJ"] {
        assert!(!said.contains(canary), "`{canary}` is in the broker's log");
    }
}
