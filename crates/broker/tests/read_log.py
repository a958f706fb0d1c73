"""Reads and verifies a log with Python's standard library and an Ed25519 written out from RFC 8032; nothing of Glovebox.

Usage: read_log.py FOLDER VKEY [RECORDS.json]
FOLDER holds what a log serves (C2SP tlog-tiles): `checkpoint`, `tile/0/...`, `tile/entries/...`. RECORDS.json is what a party was
given: signed statements with salts and inclusion proofs. Prints `log verified: N entries, M records`, or says what is wrong.
"""

import base64
import hashlib
import json
import pathlib
import sys

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def point(data):
    """RFC 8032, section 5.1.3."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    assert y < P, "a point is not canonical"
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    assert (x * x - x2) % P == 0, "a point is not on the curve"
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    s, t, u, v = f - e, h - g, h + g, f + e
    return (s * t % P, u * v % P, t * u % P, s * v % P)


def times(n, a):
    total = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = add(total, a)
        a, n = add(a, a), n >> 1
    return total


def ed25519(public, message, signature):
    """RFC 8032, section 5.1.7."""
    base = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    r, s = point(signature[:32]), int.from_bytes(signature[32:], "little")
    assert s < L, "a signature is not canonical"
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, base), add(r, times(k, point(public)))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def root(hashes):
    """RFC 6962, section 2.1."""
    if not hashes:
        return sha()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha(b"\x01", root(hashes[:k]), root(hashes[k:]))


def climb(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    fn, sn, r = index, size - 1, leaf
    for p in path:
        assert sn, "a proof is too long"
        if fn & 1 or fn == sn:
            r = sha(b"\x01", p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha(b"\x01", r, p)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0, "a proof is too short"
    return r


def checkpoint(note, vkey):
    text, signatures = note.split(b"\n\n", 1)
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == 1 and sha(name.encode() + b"\n" + key)[:4].hex() == key_id, "the verifier key does not hold together"
    origin, size, digest = text.decode().split("\n")
    assert origin == name, "the checkpoint is of another log"
    lines = [line.split(" ") for line in signatures.decode().strip().split("\n")]
    mine = [base64.b64decode(line[2]) for line in lines if line[1] == name]
    mine = [signature[4:] for signature in mine if signature[:4].hex() == key_id]
    assert mine and all(ed25519(key[1:], text + b"\n", signature) for signature in mine), "the checkpoint is not signed"
    return int(size), base64.b64decode(digest)


def tile_name(index, width):
    name = f"{index % 1000:03d}"
    while index := index // 1000:
        name = f"x{index % 1000:03d}/{name}"
    return name if width == 256 else f"{name}.p/{width}"


def leaves(folder, size):
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        bundle = (folder / "tile/entries" / tile_name(index, width)).read_bytes()
        hashes = (folder / "tile/0" / tile_name(index, width)).read_bytes()
        for place in range(width):
            length = int.from_bytes(bundle[:2], "big")
            entry, bundle = bundle[2 : 2 + length], bundle[2 + length :]
            leaf = sha(b"\x00", entry)
            assert leaf == hashes[place * 32 : place * 32 + 32], f"entry {index * 256 + place} is not the tile's"
            yield leaf
        assert not bundle, "a bundle has more entries than its tile"


def lengths(*parts):
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def url64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def record(one, size, digest):
    logged, envelope = one["logged"], one["logged"]["statement"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    [signature] = envelope["signatures"]
    assert ed25519(url64(signature["keyid"].removeprefix("ed25519:")), pae, base64.b64decode(signature["sig"])), "a statement is not signed"
    assert json.loads(payload)["predicateType"] == one["kind"], "a statement is of another kind"
    entry = sha(lengths(b"glovebox leaf v1", one["kind"].encode(), sha(payload), url64(logged["salt"])))
    path = [base64.b64decode(step) for step in logged["proof"]["path"]]
    found = climb(sha(b"\x00", entry), logged["proof"]["index"], size, path)
    assert found == digest, f"entry {logged['proof']['index']} is not in the log"


def main():
    folder, vkey = pathlib.Path(sys.argv[1]), sys.argv[2]
    size, digest = checkpoint((folder / "checkpoint").read_bytes(), vkey)
    assert root(list(leaves(folder, size))) == digest, "the entries do not give the checkpoint's root"
    count = 0
    for name in sys.argv[3:]:
        given = json.loads(pathlib.Path(name).read_bytes())
        its_size, its_digest = checkpoint(given["checkpoint"].encode(), vkey)
        for one in given["records"]:
            record(one, its_size, its_digest)
            count += 1
    print(f"log verified: {size} entries, {count} records")


try:
    main()
except AssertionError as wrong:
    sys.exit(f"log refused: {wrong}")
