#!/usr/bin/env python3
"""A client of the KBS protocol 0.4.0, written from its description alone.

It shares no code with the broker: TLS and HTTP are Python's, quotes are made by tpm2-tools on a software TPM, and JWE are opened by
joserfc. Each exchange's outcome is printed as one JSON line, for the test that started it.

usage: kbs_client.py HOST PORT AUTHORITY.pem TCTI KEYDIR
"""

import base64
import hashlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading

from joserfc import jwe
from joserfc.jwk import ECKey, RSAKey

NAME = "broker.glovebox.internal"


class Kbs:
    """One client with its cookie jar."""

    def __init__(self, host, port, authority):
        self.host, self.port = host, int(port)
        self.context = ssl.create_default_context(cafile=authority)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.cookie = None

    def ask(self, method, path, body=None, headers=None, raw=None):
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=30)
        # The name is checked against the certificate, the address is where it really is.
        connection._create_connection = lambda _, *rest: __import__("socket").create_connection((self.host, self.port), 30)
        connection.host = NAME
        headers = dict(headers or {})
        if self.cookie:
            headers["Cookie"] = self.cookie
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body=raw, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        given = answer.getheader("Set-Cookie")
        if given:
            self.attributes = given
            self.cookie = given.split(";")[0]
        connection.close()
        return answer.status, data

    def auth(self, version="0.4.0", tee="tpm"):
        request = {
            "version": version,
            "tee": tee,
            "extra-params": {"supported-hash-algorithms": ["sha256", "sha384", "sha512", "sm3"]},
        }
        status, data = self.ask("POST", "/kbs/v0/auth", request)
        return status, json.loads(data)


class Machine:
    """A TPM with an attestation key in it."""

    def __init__(self, tcti, keys):
        self.tcti, self.keys = tcti, keys
        self.dir = tempfile.mkdtemp()
        self.lock = threading.Lock()

    def tool(self, name, *arguments):
        command = [name, "-T", self.tcti, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.dir)

    def load(self):
        self.tool("tpm2_flushcontext", "-t")
        attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
        self.tool("tpm2_createprimary", "-C", "o", "-G", "ecc256:aes128cfb", "-g", "sha256", "-a", attributes, "-c", "parent")
        pub, priv = os.path.join(self.keys, "ak.pub"), os.path.join(self.keys, "ak.priv")
        self.tool("tpm2_load", "-C", "parent", "-u", pub, "-r", priv, "-c", "ak")
        self.tool("tpm2_flushcontext", "-t")

    def evidence(self, digest):
        with self.lock:
            registers = "sha256:" + ",".join(str(register) for register in range(24))
            self.tool("tpm2_quote", "-c", "ak", "-l", registers, "-q", digest.hex(), "-g", "sha256", "-m", "m", "-s", "s", "-o", "p", "-F", "values")
            self.tool("tpm2_flushcontext", "-t")
            read = lambda name: open(os.path.join(self.dir, name), "rb").read()
            values = read("p")
            assert len(values) == 24 * 32, len(values)
            pcrs = [values[32 * at : 32 * at + 32].hex() for at in range(24)]
            ak = open(os.path.join(self.keys, "ak.der"), "rb").read()
            encode = lambda data: base64.b64encode(data).decode()
            quote = {"signature": encode(read("s")), "message": encode(read("m")), "pcrs": pcrs}
            return {"tpm_quote": quote, "ak_public": encode(ak)}


def canonical(value):
    # RFC 8785 for what occurs here: ASCII keys and strings, no numbers.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def public(key, alg):
    members = key.as_dict(private=False)
    wanted = {"EC": ("kty", "crv", "x", "y"), "RSA": ("kty", "n", "e")}[members["kty"]]
    return {**{name: members[name] for name in wanted}, "alg": alg}


def attestation(machine, challenge, key, nonce=None):
    assert challenge["extra-params"] == {"selected-hash-algorithm": "sha256"}, challenge
    nonce = nonce or challenge["nonce"]
    bound = canonical({"additional-evidence": "", "nonce": nonce, "tee-pubkey": key})
    evidence = machine.evidence(hashlib.sha256(bound).digest())
    return {
        "init-data": None,
        "runtime-data": {"nonce": nonce, "tee-pubkey": key},
        "tee-evidence": {"primary_evidence": evidence, "additional_evidence": ""},
    }


def opened(data, key):
    """Opens a flattened JWE. A stock client writes the header again; so does this one, and fails where the bytes differ."""
    parts = json.loads(data)
    header = json.loads(base64.urlsafe_b64decode(parts["protected"] + "=="))
    again = {"alg": header.pop("alg"), "enc": header.pop("enc"), **dict(sorted(header.items()))}
    text = json.dumps(again, separators=(",", ":")).encode()
    assert base64.urlsafe_b64encode(text).rstrip(b"=").decode() == parts["protected"], parts["protected"]
    registry = jwe.JWERegistry(algorithms=["ECDH-ES+A256KW", "RSA-OAEP-256", "A256GCM"])
    return jwe.decrypt_json(parts, key, registry=registry).plaintext


def error(data):
    body = json.loads(data)
    assert set(body) == {"type", "detail"}, body
    assert body["type"].startswith("https://github.com/confidential-containers/kbs/errors/"), body
    return body["type"].rsplit("/", 1)[1], body["detail"]


def say(name, **facts):
    print(json.dumps({"case": name, **facts}), flush=True)


def main():
    host, port, authority, tcti, keys = sys.argv[1:]
    machine = Machine(tcti, keys)
    machine.load()
    new = lambda: Kbs(host, port, authority)
    get = lambda client, path, **more: client.ask("GET", "/kbs/v0/resource/" + path, **more)
    ec = ECKey.generate_key("P-256")
    ec_public = public(ec, "ECDH-ES+A256KW")

    status, data = get(new(), "hospital/key/1")
    say("unattested", status=status, error=error(data))
    client = new()
    status, body = client.auth(version="0.3.0")
    say("version", status=status, detail=body["detail"])
    status, body = client.auth(tee="sample")
    say("sample", status=status, detail=body["detail"])
    status, body = client.auth(tee="se")
    say("unserved", status=status, detail=body["detail"])

    client = new()
    status, challenge = client.auth()
    say("cookie", attributes=sorted(part.strip().split("=")[0] for part in client.attributes.split(";")[1:]), nonce=len(challenge["nonce"]))
    other = base64.b64encode(bytes(32)).decode()
    status, data = client.ask("POST", "/kbs/v0/attest", attestation(machine, challenge, ec_public, nonce=other))
    say("wrong nonce", status=status, error=error(data))
    # A quote that is bound to another nonce, under the right one.
    request = attestation(machine, challenge, ec_public, nonce=other)
    request["runtime-data"]["nonce"] = challenge["nonce"]
    status, data = client.ask("POST", "/kbs/v0/attest", request)
    say("other quote", status=status, error=error(data)[0])
    request = attestation(machine, challenge, ec_public)
    swapped = json.loads(json.dumps(request))
    swapped["runtime-data"]["tee-pubkey"] = public(ECKey.generate_key("P-256"), "ECDH-ES+A256KW")
    status, data = client.ask("POST", "/kbs/v0/attest", swapped)
    say("swapped key", status=status, error=error(data)[0])
    status, data = client.ask("POST", "/kbs/v0/attest", request)
    token = json.loads(data)["token"] if status == 200 else data.decode()
    say("attest", status=status, parts=len(token.split(".")))
    status, data = client.ask("POST", "/kbs/v0/attest", request)
    say("replay", status=status, error=error(data))

    status, data = get(client, "hospital/key/1")
    say("secret by cookie", status=status, secret=opened(data, ec).decode() if status == 200 else error(data))
    bearer = new()
    status, data = get(bearer, "hospital/key/1", headers={"Authorization": "Bearer " + token})
    say("secret by token", status=status, secret=opened(data, ec).decode() if status == 200 else error(data))
    status, data = get(client, "hospital/key/denied")
    say("denied", status=status, error=error(data))
    status, data = get(client, "hospital/key/none")
    say("missing", status=status, error=error(data))
    status, data = get(client, "hospital/key")
    say("no path", status=status, error=error(data)[0])
    status, data = client.ask("GET", "/kbs/v0/pkcs11/a")
    say("no plugin", status=status, error=error(data)[0])
    status, data = get(client, "hospital/%2e%2e/key/1")
    say("h3 path", status=status, error=error(data)[0])
    status, data = client.ask("POST", "/kbs/v0/auth", b'{"version":"0.4.0","version":"0.4.0","tee":"tpm","extra-params":""}')
    say("h3 duplicate", status=status, error=error(data)[0])
    status, data = client.ask("POST", "/kbs/v0/auth", b'{"version":"0.4.0","tee":"tpm","extra-params":' + b"[" * 8000)
    say("h3 deep", status=status, error=error(data)[0])

    absent = get(new(), "hospital/key/1")
    wrong = get(new(), "hospital/key/1", headers={"Authorization": "Bearer " + token[:-8] + "AAAAAAAA"})
    forged = new()
    forged.cookie = "kbs-session-id=" + "A" * 98
    say("h8", same=absent == wrong == get(forged, "hospital/key/1"))

    for name, key, alg in [
        ("P-521", ECKey.generate_key("P-521"), "ECDH-ES+A256KW"),
        ("RSA", RSAKey.generate_key(2048), "RSA-OAEP-256"),
    ]:
        client = new()
        _, challenge = client.auth()
        status, data = client.ask("POST", "/kbs/v0/attest", attestation(machine, challenge, public(key, alg)))
        status, data = get(client, "hospital/key/1") if status == 200 else (status, data)
        say(name, status=status, secret=opened(data, key).decode() if status == 200 else error(data))

    # Eight attestations at once on one session.
    client = new()
    _, challenge = client.auth()
    request, outcomes = attestation(machine, challenge, ec_public), []
    threads = [threading.Thread(target=lambda: outcomes.append(client.ask("POST", "/kbs/v0/attest", request)[0])) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    say("parallel", tokens=outcomes.count(200), refused=outcomes.count(401))

    # A stock administrator's tool, with the token of the party that owns `hospital`, and with a stranger's.
    owner, stranger = ({"Authorization": "Bearer " + os.environ[name]} for name in ("OWNER_TOKEN", "STRANGER_TOKEN"))
    admin, path = new(), "/kbs/v0/resource/hospital/key/2"
    status, data = admin.ask("POST", path, raw=b"\x00pushed", headers=owner)
    say("admin push", status=status)
    status, data = admin.ask("POST", path, raw=b"taken", headers=stranger)
    say("admin takes", status=status, error=error(data)[0])
    missing = admin.ask("DELETE", "/kbs/v0/resource/hospital/key/none", headers=stranger)
    say("h8 admin", same=admin.ask("DELETE", path, headers=stranger) == missing, status=missing[0])
    text = base64.urlsafe_b64encode(b"permit(principal, action, resource);").rstrip(b"=").decode()
    status, _ = get(client, "hospital/key/2")
    say("no conditions", status=status)
    status, _ = admin.ask("POST", "/kbs/v0/resource-policy", {"policy": text}, headers=owner)
    say("admin policy", status=status)
    status, data = get(client, "hospital/key/2")
    say("pushed", status=status, secret=opened(data, ec).hex() if status == 200 else error(data))
    wrong = base64.urlsafe_b64encode(b"permit(principal, action, resource) when { context.nothing };").rstrip(b"=").decode()
    status, data = admin.ask("POST", "/kbs/v0/resource-policy", {"policy": wrong}, headers=owner)
    say("admin misspells", status=status, error=error(data))
    status, data = admin.ask("GET", "/kbs/v0/resource", headers=owner)
    say("admin list", status=status, paths=json.loads(data))
    status, data = admin.ask("GET", "/kbs/v0/resource", headers=stranger)
    say("stranger lists", status=status, paths=json.loads(data))
    status, _ = admin.ask("DELETE", path, headers=owner)
    gone, _ = get(client, "hospital/key/2")
    say("admin delete", status=status, then=gone)
    status, data = admin.ask("DELETE", path, headers={"Authorization": "Bearer " + token})
    say("token is no administrator's", status=status, error=error(data)[0])


main()
