"""Inputs that the fuzz targets begin with, from the vectors: `fuzz-seeds.py VECTORS FOLDER` writes FOLDER/TARGET/*.

How the files of a case follow one another in an input is said in crates/hostile/src/lib.rs (`Fields`), and by each entry.
"""

import base64
import datetime
import hashlib
import json
import pathlib
import re
import struct
import sys
import zlib

CLONE = pathlib.Path(__file__).resolve().parent.parent


def main(vectors, folder):
    vectors, folder = pathlib.Path(vectors), pathlib.Path(folder)

    def seed(target, *parts):
        data = b"".join(parts)
        if 0 < len(data) < 1 << 20:
            (folder / target).mkdir(parents=True, exist_ok=True)
            (folder / target / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    for case in json.loads((vectors / "manifest.json").read_text())["cases"]:
        of_case(case, vectors / case["dir"], seed)
    of_clone(seed)


def of_case(case, directory, seed):
    """One case's files as the inputs of the targets that read such files."""
    files = {role: (directory / file["path"]).read_bytes() for role, file in case["files"].items()}
    get = lambda role: files.get(role, b"")
    time = case.get("reference_time") or "2025-06-15T15:06:40Z"
    now = struct.pack("<I", int(datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()))
    pcrs = registers(get("pcrs"))
    intel = [field(get(role)) for role in ("tcb_info", "qe_identity", "tcb_signing_chain", "pck_crl", "root_ca_crl")]
    for role, content in files.items():
        seed("detect", content)
        if re.search(r"key|ak_pub|cpak|iak|signer", role):
            seed("keys", content)
        if re.search(r"chain|vcek|vlek|ask|ark|anchor|signing_key|intermediate$|document$", role):
            seed("certificate", now, field(content), field(get("crl") or get("ibm_crl") or get("root_ca_crl")))
    match case["kind"]:
        case "tdx" | "sgx":
            seed("intel", now, field(get("quote")), *intel)
            bodies = [body(get("tcb_info"), "tcbInfo"), body(get("qe_identity"), "enclaveIdentity")]
            seed("collateral", now, field(get("quote")), *map(field, bodies), field(get("root_ca_crl")))
            chain = get("tcb_signing_chain").decode().replace("\n", "%0A").encode()
            for tee in ("sgx", "tdx"):
                fmspc = re.search(rb'"fmspc":"(\w+)"', get("tcb_info"))
                name = f"{tee}/{fmspc[1].decode().lower()}".encode() if fmspc else b"sgx/00906ed50000"
                for content in (get("tcb_info"), get("qe_identity"), get("root_ca_crl")):
                    seed("endorsements", now, field(name), field(content), field(chain))
        case "snp":
            chain = get("cert_chain") or get("ask") + get("ark")
            seed("snp", *map(field, (get("report"), get("vcek") or get("vlek"), chain, get("crl"))))
            seed("endorsements", now, field(b"amd/milan"), field(chain))
            report = get("report")
            if len(report) == 1184:
                seed("kbs_evidence", kbs_snp(report, get("vcek"), chain))
                seed("kbs", kbs_attestation(json.loads(kbs_snp(report, get("vcek"), chain))))
        case "nitro":
            seed("nitro", now, get("document"))
            seed("cose", get("document"))
        case "nitrotpm":
            seed("nitro_tpm", now, *map(field, (get("document"), get("tpm_quote_msg"), get("tpm_quote_sig"))))
        case "azure-snp-vtpm" | "azure-tdx-vtpm":
            seed("hcl", get("hcl_report"))
            head = [field(get(role)) for role in ("hcl_report", "tpm_quote_msg", "tpm_quote_sig")] + [field(pcrs)]
            if case["kind"] == "azure-tdx-vtpm":
                seed("azure", now, *head, field(get("td_quote")), *intel)
            else:
                seed("azure", now, *head, *map(field, (get("vcek"), get("cert_chain"), get("crl"))))
            quotes(seed, get("tpm_quote_msg"), get("tpm_quote_sig"))
        case "tpm-quote" | "gcp-vtpm":
            roles = ("ak_pub", "ak_cert_chain", "quote_msg", "quote_sig")
            seed("vtpm", now, *(field(get(role)) for role in roles), field(pcrs), field(get("event_log")))
            quotes(seed, get("quote_msg"), get("quote_sig"))
            seed("event_log", get("event_log"))
        case "tcg-eventlog":
            seed("event_log", get("event_log"))
            seed("ccel", get("event_log"))
        case "ccel":
            seed("ccel", get("event_log"))
            seed("ima", get("ima_log"))
        case "ima":
            seed("ima", get("ima_log"))
        case "cca":
            seed("cca", field(get("token")), field(get("cpak")))
            payloads = [sign1_payload(token) for token in cca_tokens(get("token"))]
            seed("cca", field(b""), field(b""), *map(field, payloads))
            seed("cose", get("token"))
            for token in cca_tokens(get("token")):
                seed("cose", token)
        case "psa":
            seed("psa", field(get("token")), field(get("iak")))
            seed("psa", field(b""), field(b""), field(sign1_payload(get("token"))))
            seed("cose", get("token"))
        case "nvidia-gpu" | "nvidia-switch":
            half = max(len(get("report")), len(get("cert_chain")))
            seed("spdm", get("report"))
            if len(get("report")) == half:
                seed("spdm", get("report"), get("cert_chain").rjust(half, b"\n"))
            seed("collected", field(get("evidence_json")))
            collected = {"evidence": text(get("report")), "certificate": text(get("cert_chain")), "arch": "HOPPER"}
            seed("collected", field(json.dumps([collected]).encode()))
        case "nvidia-rim":
            seed("rim", get("rim"))
        case "hygon-csv":
            seed("hygon", *map(field, (get("report"), get("cek"), get("hsk"), get("hrk"))))
        case "ibm-se":
            roles = "host_key_document ibm_signing_key intermediate ibm_crl intermediate_crl root_crl trust_anchor"
            seed("ibm", now, *(field(get(role)) for role in roles.split()))
        case "keystone":
            seed("keystone", field(get("report")), field(get("dev_pub")))
        case "risc0":
            seed("risc0", get("seal"), get("journal"))
        case "ear" | "eat":
            for role in ("token", "device_token"):
                seed("jwt", now, get(role))
                for claims in get(role).split(b".")[1:2]:
                    seed("jwt", now, base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4)))
            seed("cwt", now, EAR_IN_CBOR)
        case "corim":
            seed("corim", get("corim"))
            seed("corim", sign1_payload(get("corim")))
            seed("cose", get("corim"))


def of_clone(seed):
    """What the clone itself has: files of people, documents, tables."""
    for file in CLONE.glob("examples/*/*"):
        if file.suffix == ".csv":
            seed("source", file.read_bytes()[:4096])
        if file.suffix == ".toml":
            seed("rules", file.read_bytes())
    seed("source", b'{"a":1,"b":"x","c":null}\n{"a":2.5,"b":"","c":true}\n')
    for file in CLONE.glob("docs/spec/*.md"):
        for block in re.findall(r"```toml\n(.*?)```", file.read_text(), re.S):
            seed("rules", block.encode())
            seed("agreement", field(block.encode()))
        for block in re.findall(r"```json\n(.*?)```", file.read_text(), re.S):
            for target in ("requests", "responses", "receipt", "evidence", "kbs", "kbs_evidence"):
                seed(target, block.encode())
    for file in CLONE.glob("crates/agreement/vectors/toml/*"):
        seed("rules" if file.name.startswith("rules") else "agreement", contents(file))
    for file in CLONE.glob("crates/agreement/vectors/decisions/*.json"):
        walk(json.loads(file.read_text()), seed)
    for word in re.findall(r'"([^"\\]{6,400})"', (CLONE / "crates/tlog/vectors/vectors.json").read_text()):
        seed("log", word.encode().replace(b"\\n", b"\n"))
    for condition in re.findall(r'r#"(.*?)"#', (CLONE / "crates/broker/src/kbs/policy.rs").read_text(), re.S):
        seed("cedar", condition.encode())
    for word in ("ed25519:" + "A" * 43, "sha256:" + "0" * 64):
        seed("identity", word.encode())
    covered = '("@method" "@path" "@query" "glovebox-audience")'
    key = "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"
    read = f'glovebox={covered};created=1750000000;nonce="{"A" * 43}";keyid="ed25519:{key}";alg="ed25519"'
    signature = f"glovebox=:{'A' * 86}==:"
    seed("http_signature", struct.pack("<I", 1_750_000_000), *map(field, (b"/v1/runs?a=b", read.encode(), signature.encode())))
    seed("kbs", b'{"version":"0.4.0","tee":"snp","extra-params":""}')
    tpm = {"tpm_quote": {"signature": "AAAA", "message": "AAAA", "pcrs": ["00" * 32] * 24}, "ak_public": "AAAA"}
    seed("kbs_evidence", json.dumps(tpm).encode())
    seed("kbs", kbs_attestation(tpm))
    kernel, disk = (eif_section(kind, b"contents") for kind in (1, 3))
    sections = [kernel, eif_section(2, b"console=ttyS0"), disk]
    offsets = [548 + sum(map(len, sections[:at])) for at in range(3)]
    table = struct.pack(">32Q", *offsets, *[0] * 29) + struct.pack(">32Q", *(len(part) - 12 for part in sections), *[0] * 29)
    head = b".eif" + struct.pack(">HHQQHH", 4, 0, 1 << 28, 2, 0, 3) + table + bytes(4)
    image = head + struct.pack(">I", zlib.crc32(head + b"".join(sections))) + b"".join(sections)
    seed("nitro_image", image)


def walk(value, seed):
    """Every envelope, policy and document within a decision's facts."""
    if isinstance(value, dict):
        data = json.dumps(value, separators=(",", ":")).encode()
        if "signatures" in value and "payload" in value:
            seed("statement", data)
        if "tier_floor" in value:
            seed("evidence", data)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        walk(part, seed)


def contents(file):
    """A vector of a file of people: its text follows a head, behind an empty line."""
    data = file.read_bytes().partition(b"-----\n")[2]
    return data if file.name.startswith("rules") else field(data)


def field(data):
    return struct.pack("<H", len(data)) + data if len(data) < 1 << 16 else struct.pack("<H", 0)


def text(data):
    return base64.b64encode(data).decode()


def body(envelope, name):
    """The signed document of Intel's envelope."""
    return envelope[len(name) + 4 : envelope.rfind(b',"signature"')] if envelope else b""


def registers(listed):
    """The SHA-256 bank as indices and values."""
    bank = json.loads(listed or b"{}").get("sha256", {})
    return b"".join(bytes([int(index)]) + bytes.fromhex(value) for index, value in bank.items())


def quotes(seed, message, signature):
    seed("quote", message)
    seed("quote", signature)


def item(data, at):
    """The head of a CBOR item: its argument and where its contents begin."""
    low = data[at] & 31
    if low < 24:
        return low, at + 1
    size = 1 << (low - 24)
    return int.from_bytes(data[at + 1 : at + 1 + size]), at + 1 + size


def cca_tokens(collection):
    found = []
    for label in (b"\x19\xac\xca", b"\x19\xac\xd1"):
        at = collection.find(label)
        if at >= 0 and at + 3 < len(collection):
            size, start = item(collection, at + 3)
            found.append(collection[start : start + size])
    return found


def sign1_payload(message):
    """The payload of a COSE_Sign1, or nothing."""
    at = message.find(b"\x84")
    if not 0 <= at <= 4 or len(message) < at + 8:
        return b""
    size, start = item(message, at + 1)
    at = start + size
    for candidate in range(at, min(at + 400, len(message) - 3)):
        if message[candidate] in (0x58, 0x59, 0x5A):
            size, start = item(message, candidate)
            rest = len(message) - start - size
            if 64 <= rest <= 600 and size > 60:
                return message[start : start + size]
    return b""


def eif_section(kind, data):
    return struct.pack(">HHQ", kind, 0, len(data)) + data


def kbs_attestation(evidence):
    key = {"kty": "EC", "alg": "ECDH-ES+A256KW", "crv": "P-256"}
    key["x"] = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY"
    key["y"] = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"
    composite = {"primary_evidence": evidence, "additional_evidence": ""}
    runtime = {"nonce": text(bytes(32)), "tee-pubkey": key}
    return json.dumps({"runtime-data": runtime, "tee-evidence": composite}).encode()


def kbs_snp(report, key, chain):
    """A report in the fields that clients send (sev's AttestationReport in serde's JSON)."""
    numbers = lambda start, size: list(report[start : start + size])
    word = lambda start: int.from_bytes(report[start : start + 8], "little")
    half = lambda start: int.from_bytes(report[start : start + 4], "little")
    tcb = lambda start: {"bootloader": report[start], "tee": report[start + 1], "snp": report[start + 6], "microcode": report[start + 7]}
    version = lambda start: {"build": report[start], "minor": report[start + 1], "major": report[start + 2]}
    fields = {
        "version": half(0), "guest_svn": half(4), "policy": word(8), "family_id": numbers(16, 16),
        "image_id": numbers(32, 16), "vmpl": half(48), "sig_algo": half(52), "current_tcb": tcb(56), "plat_info": word(64),
        "key_info": half(72), "report_data": numbers(80, 64), "measurement": numbers(144, 48),
        "host_data": numbers(192, 32), "id_key_digest": numbers(224, 48), "author_key_digest": numbers(272, 48),
        "report_id": numbers(320, 32), "report_id_ma": numbers(352, 32), "reported_tcb": tcb(384),
        "cpuid_fam_id": report[392], "cpuid_mod_id": report[393], "cpuid_step": report[394],
        "chip_id": numbers(416, 64), "committed_tcb": tcb(480), "current": version(488), "committed": version(492),
        "launch_tcb": tcb(496), "signature": {"r": numbers(672, 72), "s": numbers(744, 72)},
    }  # fmt: skip
    ders = [base64.b64decode(block) for block in re.findall(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", chain, re.S)]
    named = zip(("VCEK", "ASK", "ARK"), [key, *ders])
    certificates = [{"cert_type": name, "data": list(data)} for name, data in named]
    return json.dumps({"attestation_report": fields, "cert_chain": certificates}).encode()


PROFILE = b"tag:github.com,2023:veraison/ear"
# An EAR of one appraisal: time, profile, a submodule with its status and vector, Verifier.
EAR_IN_CBOR = b"".join((
    b"\xa4\x06\x1a\x68\x4e\x2a\x80\x19\x01\x09\x78", bytes([len(PROFILE)]), PROFILE,
    b"\x19\x01\x0a\xa1\x64test\xa2\x19\x03\xe8\x02\x19\x03\xe9\xa1\x00\x02\x19\x03\xec\xa2\x00\x61a\x01\x61b",
))  # fmt: skip

if __name__ == "__main__":
    main(*sys.argv[1:])
