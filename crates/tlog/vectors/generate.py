#!/usr/bin/env python3
"""Writes the test vectors of the log beside itself.

Independent of the Rust code on purpose: the tree is the recursive definition of RFC 6962, section 2.1, the notes are put
together by hand, and Ed25519 comes from the Python package `cryptography`. Keys are SHA-256 of a name, so that two runs
give the same files. Most vectors must fail; `expect` is the refusal's message, or `ok` and what was established.
"""

import base64, hashlib, json, pathlib, struct
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = pathlib.Path(__file__).parent
ORIGIN = "broker.example/log"


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def b64(data):
    return base64.b64encode(data).decode()


class Key:
    def __init__(self, name, kind, seed=None):
        self.name, self.kind = name, kind
        self.secret = Ed25519PrivateKey.from_private_bytes(sha((seed or name).encode()))
        self.material = bytes([kind]) + self.secret.public_key().public_bytes_raw()
        self.id = sha(name.encode(), b"\n", self.material)[:4]
        self.text = f"{name}+{self.id.hex()}+{b64(self.material)}"

    def line(self, signature):
        return f"\u2014 {self.name} {b64(self.id + signature)}\n"

    def sign(self, text):
        return self.line(self.secret.sign(text.encode()))

    def cosign(self, text, time):
        message = f"cosignature/v1\ntime {time}\n{text}".encode()
        return self.line(struct.pack(">Q", time) + self.secret.sign(message))


def entry(kind, record, salt):
    parts = [b"glovebox leaf v1", kind.encode(), record, salt]
    return sha(*(struct.pack(">Q", len(part)) + part for part in parts))


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root(entries):
    if not entries:
        return sha(b"")
    if len(entries) == 1:
        return sha(b"\0", entries[0])
    k = split(len(entries))
    return sha(b"\1", root(entries[:k]), root(entries[k:]))


def path(m, entries):
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return path(m, entries[:k]) + [root(entries[k:])]
    return path(m - k, entries[k:]) + [root(entries[:k])]


log = Key(ORIGIN, 1)
w1, w2, w3 = (Key(f"witness.example/w{n}", 4) for n in (1, 2, 3))
kinds = ["agreement", "run", "key-release", "budget", "result"]
openings = [
    {"kind": kinds[n % 5], "record": sha(b"record %d" % n), "salt": sha(b"salt %d" % n)} for n in range(7)
]
entries = [entry(o["kind"], o["record"], o["salt"]) for o in openings]


def body(size=7, tree=None, origin=ORIGIN, extra=""):
    return f"{origin}\n{size}\n{b64(tree or root(entries[:size]))}\n{extra}"


text = body()
signed = text + "\n" + log.sign(text)
c1, c2, c3 = w1.cosign(text, 1700000000), w2.cosign(text, 1700000001), w3.cosign(text, 1700000002)
stranger = Key(ORIGIN, 1, "stranger")
imposter = Key(w1.name, 4, "imposter")
ok = lambda rollback: f"ok size=7 root={b64(root(entries))} rollback={rollback}"
two_of_three = (2, [w1, w2, w3])


def forged(key, text, time):
    message = f"cosignature/v1\ntime {time}\n{text}".encode()
    return w1.line(struct.pack(">Q", time) + key.secret.sign(message))


def without_newline_time():
    return w1.line(struct.pack(">Q", 5) + w1.secret.sign(("cosignature/v1\n" + text).encode()))


def note(text, signer=log):
    return text + "\n" + signer.sign(text)


checkpoints = [
    ("signed", signed, (0, []), ok("not witnessed")),
    ("cosigned by two of three", signed + c1 + c3, two_of_three, ok("witnessed by 2")),
    ("cosigned though nobody asked", signed + c1, (0, [w1]), ok("not witnessed")),
    ("unknown signatures are ignored", signed + imposter.cosign(text, 5) + stranger.sign(text), (0, [w1]), ok("not witnessed")),
    ("empty tree", note(body(0)), (0, []), f"ok size=0 root={b64(sha(b''))} rollback=not witnessed"),
    ("L5 k-1 witnesses", signed + c1, two_of_three, "checkpoint is cosigned by 1 of the witnesses, 2 are needed"),
    ("L5 one witness twice", signed + c1 + c1, two_of_three, "checkpoint is cosigned by 1 of the witnesses, 2 are needed"),
    ("L5 one witness at two times", signed + c1 + w1.cosign(text, 1700000009), two_of_three, "checkpoint is cosigned by 1 of the witnesses, 2 are needed"),
    ("L5 witnesses that nobody listed", signed + c2 + c3, (1, [w1]), "checkpoint is cosigned by 0 of the witnesses, 1 are needed"),
    ("cosignature of another key under a witness's name and id", signed + forged(w2, text, 5), (1, [w1]), "signature by `witness.example/w1` does not verify"),
    ("cosignature over another size", signed + w1.cosign(body(6), 5), (1, [w1]), "signature by `witness.example/w1` does not verify"),
    ("cosignature without its time", signed + without_newline_time(), (1, [w1]), "signature by `witness.example/w1` does not verify"),
    ("cosignature whose time was changed", signed + w1.line(struct.pack(">Q", 6) + w1.secret.sign(f"cosignature/v1\ntime 5\n{text}".encode())), (1, [w1]), "signature by `witness.example/w1` does not verify"),
    ("cosignature beyond the end of time", signed + w1.cosign(text, 2**63), (1, [w1]), "signature by `witness.example/w1` does not verify"),
    ("plain signature in a witness's place", signed + w1.sign(text), (1, [w1]), "signature by `witness.example/w1` does not verify"),
    ("second cosignature of a witness is bad", signed + c1 + forged(w2, text, 5), (1, [w1]), "signature by `witness.example/w1` does not verify"),
    ("the log's own key as a witness", signed + Key("witness.example/self", 4, ORIGIN).cosign(text, 5), (1, [Key("witness.example/self", 4, ORIGIN)]), "witness `witness.example/self` uses the log's own key"),
    ("signed by a stranger", note(text, stranger), (0, []), f"checkpoint is not signed by the log `{ORIGIN}`"),
    ("only cosigned", text + "\n" + c1, (1, [w1]), f"checkpoint is not signed by the log `{ORIGIN}`"),
    ("root changed after signing", signed.replace(b64(root(entries)), b64(root(entries[:6]))), (0, []), f"signature by `{ORIGIN}` does not verify"),
    ("size changed after signing", signed.replace("\n7\n", "\n8\n"), (0, []), f"signature by `{ORIGIN}` does not verify"),
    ("second signature of the log is bad", signed + log.sign(body(6)), (0, []), f"signature by `{ORIGIN}` does not verify"),
    ("another log", note(body(origin="other.example/log")), (0, []), f"checkpoint is of the log `other.example/log`, expected `{ORIGIN}`"),
    ("extension line", note(body(extra="extension\n")), (0, []), "malformed checkpoint"),
    ("size with a leading zero", note(body("07", root(entries))), (0, []), "malformed checkpoint"),
    ("negative size", note(body("-7", root(entries))), (0, []), "malformed checkpoint"),
    ("size beyond 64 bits", note(body(2**64, root(entries))), (0, []), "malformed checkpoint"),
    ("root of 31 bytes", note(body(7, root(entries)[:31])), (0, []), "malformed checkpoint"),
    ("no root", note(f"{ORIGIN}\n7\n"), (0, []), "malformed checkpoint"),
    ("no signature", text, (0, []), "malformed checkpoint"),
    ("no signature after the blank line", text + "\n", (0, []), "malformed checkpoint"),
    ("carriage returns", signed.replace("\n", "\r\n"), (0, []), "malformed checkpoint"),
    ("cut in the signature", signed[:-20], (0, []), "malformed checkpoint"),
    ("no last newline", signed[:-1], (0, []), "malformed checkpoint"),
    ("text after the signatures", signed + "more\n", (0, []), "malformed checkpoint"),
    ("more than 100 signatures", signed + c1 * 101, (1, [w1]), "malformed checkpoint"),
    ("nothing", "", (0, []), "malformed checkpoint"),
]

good = [b64(h) for h in path(2, entries)]
opening = lambda n, **change: {
    "kind": openings[n]["kind"], "record": "sha256:" + openings[n]["record"].hex(), "salt": b64(openings[n]["salt"]), **change
}
flip = lambda data: b64(bytes([data[0] ^ 1]) + data[1:])
node = sha(b"\0", entries[0]) + sha(b"\0", entries[1])
missing = "proof does not lead from the entry to the checkpoint's root"
inclusions = [
    ("third of seven", opening(2), 2, good, "ok"),
    ("last of seven", opening(6), 6, [b64(h) for h in path(6, entries)], "ok"),
    ("another kind", opening(2, kind="run"), 2, good, missing),
    ("another record", opening(2, record="sha256:" + openings[3]["record"].hex()), 2, good, missing),
    ("another salt", opening(2, salt=flip(openings[2]["salt"])), 2, good, missing),
    ("another index", opening(2), 3, good, missing),
    ("index beyond the tree", opening(2), 7, good, "entry 7 lies outside a tree of 7"),
    ("index beyond every tree", opening(2), 2**64 - 1, good, "entry 18446744073709551615 lies outside a tree of 7"),
    ("path too short", opening(2), 2, good[:-1], missing),
    ("path too long", opening(2), 2, good + good[:1], missing),
    ("path reversed", opening(2), 2, good[::-1], missing),
    ("no path", opening(2), 2, [], missing),
    ("L7 proof of 64 lines", opening(2), 2, good[:1] * 64, "proof has 64 lines, at most 63 are possible"),
    ("proof of 63 lines is read and refused", opening(2), 2, good[:1] * 63, missing),
]

leaf = {
    "kind": "run", "record": "sha256:" + sha(b"record 1").hex(), "salt": b64(sha(b"salt 1")),
    "entry": entries[1].hex(), "leaf_hash": sha(b"\0", entries[1]).hex(),
}

malformed = lambda path: f"malformed tile path `{path}`"
paths = [(path, "ok") for path in (
    "tile/0/000", "tile/0/000.p/1", "tile/0/000.p/255", "tile/3/x001/x234/067", "tile/7/000.p/1", "tile/entries/000",
    "tile/entries/x001/000.p/17", "tile/0/x281/x474/x976/x710/655",
)] + [(path, malformed(path)) for path in (
    "", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/001", "tile/00/000", "tile/+0/000",
    "tile/-1/000", "tile/8/000", "tile/64/000", "tile/256/000", "tile/data/000", "tile/8/0/000", "tile/0/000.p/0", "tile/0/000.p/256",
    "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p/1/", "tile/0/000.p/1.p/1", "tile/0/001/000", "tile/0/x001/x002", "tile/0/x1/000",
    "tile/0/x001/1000", "tile/0/000/", "tile/0//000", "/tile/0/000", "tile/0/../000", "tile/0/x072/x057/x594/x037/x927/936", "Tile/0/000",
    "tile/0/x999/x999/x999/x999/x999/x999/x999/999", "tile/entries/000.p/0", "tile/Entries/000", "tile/0/000%2ep/1", "tile/0/\u0660\u0660\u0660",
)]

vectors = {
    "leaf": leaf,
    "log": log.text,
    "witnesses": [w.text for w in (w1, w2, w3)],
    "checkpoint": signed,
    "checkpoints": [
        {"name": n, "expect": e, "k": k, "witnesses": [w.text for w in ws], "note": note} for n, note, (k, ws), e in checkpoints
    ],
    "inclusions": [{"name": n, "expect": e, "opening": o, "index": i, "path": p} for n, o, i, p, e in inclusions],
    "paths": [{"path": p, "expect": e} for p, e in paths],
}
(HERE / "vectors.json").write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
