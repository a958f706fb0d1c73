#!/usr/bin/env python3
"""The mutants of `cargo mutants`, many to a build.

`cargo mutants` builds the tests anew for each mutant, which takes a day for all checks of Evidence. This takes the same list of mutants
(`cargo mutants --list --json`, under `.cargo/mutants.toml`), and writes into a copy of the workspace, for each function, all its mutated bodies beside
its own, chosen by the number in the variable MUTANT. So there is one build, and each mutant costs one run of the tests.

    scripts/mutants.py COPY list            copies the workspace to COPY and lists the mutants there
    scripts/mutants.py COPY build           writes all bodies, drops those that do not compile, builds the tests
    scripts/mutants.py COPY run [PATTERN]   runs the tests on each mutant not yet judged whose name matches
                                            (QUICK=1 leaves out the tests that try every bit; JOBS=n runs n at a time)
    scripts/mutants.py COPY constants [PATTERN]   mutants of constants, and of functions that a constant or an opaque type needs: a build for each
    scripts/mutants.py COPY report          counts by file, and names the survivors

What `cargo mutants` calls unviable does not compile here either. Nothing can be chosen at run time in a constant, so that verb builds as `cargo mutants` does.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Tests that try every bit: they take long, so they run only where nothing else noticed.
SLOW = ["a1_", "a2_", "d1_", "every_case_agrees", "any_bytes", "receipt_counts", "a_realm_that"]
CHOICE = """
/// Which mutant runs; 0 is none.
pub(crate) fn mutant() -> u32 {
    static CHOSEN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}
"""
# A mutant that overflows is for the tests to notice, not for a lint.
LENIENT = "#![allow(arithmetic_overflow, unconditional_panic)] "
PACKAGES = ["-p", "attest"]


def main():
    copy, verb = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    {"list": listed, "build": build, "run": run, "constants": constants, "report": report}[verb](copy)


def listed(copy):
    copied(copy / "tree")
    found = subprocess.run(["cargo", "mutants", "--list", "--json"], cwd=ROOT, check=True, capture_output=True)
    mutants = json.loads(found.stdout)
    for number, mutant in enumerate(mutants, 1):
        mutant["number"] = number
        del mutant["diff"]
    (copy / "mutants.json").write_text(json.dumps(mutants, indent=1))
    for old in ("outcomes.json", "dropped.json"):
        (copy / old).unlink(missing_ok=True)
    print(len(mutants), "mutants")


def copied(tree):
    """The workspace as it stands, without what git ignores."""
    if tree.exists():
        shutil.rmtree(tree)
    tree.mkdir(parents=True)
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
    for name in files.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def offset(lines, place):
    """Of a line and column counted from 1, in characters."""
    return sum(len(line) for line in lines[: place["line"] - 1]) + place["column"] - 1


def body_of(text, start, end):
    """From behind the first brace of a function to before its last: braces of its signature stand in brackets or quotes nowhere here."""
    last = text.rindex("}", start, end)
    depth = 0
    for at in range(start, last):
        if text[at] in "([":
            depth += 1
        elif text[at] in ")]":
            depth -= 1
        elif text[at] == "{" and depth == 0:
            return at + 1, last
    raise ValueError(text[start:end])


def build(copy):
    mutants = json.loads((copy / "mutants.json").read_text())
    memory = copy / "dropped.json"
    dropped, kept_const = set(), set()
    if memory.exists():
        old = json.loads(memory.read_text())
        dropped, kept_const = set(old[0]), {tuple(key) for key in old[1]}
    for attempt in range(40):
        places = write(copy, mutants, dropped, kept_const)
        errors = check(copy)
        if not errors:
            break
        before = (len(dropped), len(kept_const))
        for file, line, code, words in errors:
            # A constant calls it: it has to stay what a constant may call.
            called = re.search(r"cannot call non-const .*`(?:.*::)?(\w+)`", words)
            if called:
                named = {(mutant["file"], span_key(mutant["function"])) for mutant in mutants if mutant["function"]}
                kept_const |= {key for key in named if key[1].split()[-1].split("::")[-1] == called.group(1)}
                continue
            number = next((number for first, last, number in places.get(file, []) if first <= line <= last), None)
            if number is None:
                function = next((name for first, last, name in CONSTS.get(file, []) if first <= line <= last), None)
                print("not a mutant:", file, line, code, function)
                if function:
                    kept_const.add((file, function))
            elif number > 0:
                dropped.add(number)
        print(f"attempt {attempt}: {len(errors)} errors, {len(dropped)} dropped, {len(kept_const)} functions left as they are", flush=True)
        memory.write_text(json.dumps([sorted(dropped), sorted(kept_const)]))
        if before == (len(dropped), len(kept_const)):
            raise SystemExit("stuck")
    for mutant in mutants:
        key = (mutant["file"], span_key(mutant["function"]) if mutant["function"] else None)
        mutant["viable"] = mutant["number"] not in dropped and mutant["function"] is not None and key not in kept_const
    (copy / "mutants.json").write_text(json.dumps(mutants, indent=1))
    binaries = tests_of(copy / "tree")
    if not binaries:
        raise SystemExit("the tests do not build")
    (copy / "binaries.json").write_text(json.dumps(binaries, indent=1))
    print(sum(mutant["viable"] for mutant in mutants), "viable,", len(binaries), "programs of tests")


def tests_of(tree, quiet=False):
    """Builds the programs of tests: their names and paths, or None where one does not compile."""
    command = ["cargo", "test", "--no-run", "--message-format=json", *PACKAGES]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, text=True)
    if done.returncode:
        return None
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {message["target"]["name"]: message["executable"] for message in messages if message.get("executable") and message["profile"]["test"]}


CONSTS = {}


def span_key(function):
    return f'{function["span"]["start"]["line"]} {function["function_name"]}'


def write(copy, mutants, dropped, kept):
    """Writes all files; returns for each its ranges of lines with the number of the mutant there."""
    places = {}
    CONSTS.clear()
    by_file = collections.defaultdict(lambda: collections.defaultdict(list))
    for mutant in mutants:
        if mutant["function"]:
            by_file[mutant["file"]][span_key(mutant["function"])].append(mutant)
    for file, functions in by_file.items():
        text = (ROOT / file).read_text()
        lines = text.splitlines(keepends=True)
        edits = []
        for key, group in functions.items():
            span = group[0]["function"]["span"]
            start, end = offset(lines, span["start"]), offset(lines, span["end"])
            live = [mutant for mutant in group if mutant["number"] not in dropped]
            if (file, key) in kept or not live:
                continue
            first, last = body_of(text, start, end)
            arms = []
            for mutant in live:
                at, to = offset(lines, mutant["span"]["start"]), offset(lines, mutant["span"]["end"])
                arms.append((mutant["number"], text[first:at] + mutant["replacement"] + text[to:last]))
            edits.append((start, first, last, arms, key))
        edits.sort()
        # A function inside another keeps its body: the outer one's copies hold it as it is.
        outer, flat = -1, []
        for edit in edits:
            if edit[0] >= outer:
                flat.append(edit)
                outer = edit[2]
        pieces, at, line, ranges, consts = [], 0, 1, [], []

        def put(piece):
            nonlocal line
            pieces.append(piece)
            line += piece.count("\n")

        for start, first, last, arms, key in flat:
            put(text[at:start])
            head = line
            put(re.sub(r"\bconst fn\b", "fn", text[start:first]))
            put(" match crate::mutant() {\n")
            for number, body in arms:
                begin = line
                put(f"{number} => {{{body}\n}}\n")
                ranges.append((begin, line - 1, number))
            begin = line
            put("_ => {" + text[first:last] + "\n}\n}\n")
            consts.append((head, line, key))
            at = last
        put(text[at:])
        out = "".join(pieces)
        if file.endswith("attest/src/lib.rs"):
            out = LENIENT + out + CHOICE
        target = copy / "tree" / file
        if not target.exists() or target.read_text() != out:
            target.write_text(out)
        places[file], CONSTS[file] = ranges, consts
    lib = copy / "tree/crates/attest/src/lib.rs"
    if "pub(crate) fn mutant()" not in lib.read_text():
        lib.write_text(LENIENT + lib.read_text() + CHOICE)
    return places


def check(copy):
    done = subprocess.run(["cargo", "check", "--message-format=json", *PACKAGES, "--lib"], cwd=copy / "tree", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    errors = []
    for line in done.stdout.splitlines():
        message = json.loads(line).get("message")
        if not message or message.get("level") != "error":
            continue
        spans = [span for span in message["spans"] if span["is_primary"]] or message["spans"]
        code = (message.get("code") or {}).get("code")
        for span in spans:
            while span.get("expansion") and not span["file_name"].startswith("crates/"):
                span = span["expansion"]["span"]
            errors.append((span["file_name"], span["line_start"], code, message["message"]))
    if done.returncode and not errors:
        print(done.stderr)
        raise SystemExit("the copy does not compile")
    return errors


# Ten times as long as any other.
LAST = ["swtpm"]
# Which programs of tests are asked first, by the beginning of the file's name behind `crates/attest/src/`.
FIRST = [
    ("snp", ["snp", "vectors"]),
    ("tpm/vtpm", ["vtpm", "attest"]),
    ("tpm", ["appraisal", "formats", "attest"]),
    ("intel", ["intel", "quotes", "vectors"]),
    ("nitro/image", ["eif"]),
    ("nitro", ["nitro", "vectors"]),
    ("azure", ["vtpm", "vectors"]),
    ("gcp", ["vtpm"]),
    ("arm", ["arm"]),
    ("ear", ["tokens", "attest"]),
    ("cose", ["tokens", "arm", "nitro"]),
    ("keys", ["tokens", "arm"]),
    ("certificate", ["certificates", "snp", "makers"]),
    ("ima", ["ima", "logs"]),
    ("ccel", ["logs"]),
    ("event", ["appraisal", "formats", "logs"]),
    ("platform", ["attest", "confidential_vm", "snp"]),
    ("confidential_vm", ["confidential_vm"]),
    ("nvidia", ["nvidia", "attest"]),
    ("hygon", ["makers", "vectors"]),
    ("keystone", ["makers", "vectors"]),
    ("ibm", ["ibm", "makers"]),
    ("risc0", ["risc0", "makers"]),
    ("reference", ["auditors"]),
    ("cbor", ["attest", "tokens"]),
    ("reader", ["attest", "formats"]),
    ("hash", ["formats", "attest"]),
    ("corim", ["attest", "vectors", "formats"]),
]


def run(copy):
    pattern = re.compile(sys.argv[3] if len(sys.argv) > 3 else ".")
    mutants = [mutant for mutant in json.loads((copy / "mutants.json").read_text()) if mutant["viable"]]
    store = copy / "outcomes.json"
    outcomes = json.loads(store.read_text()) if store.exists() else {}
    binaries = json.loads((copy / "binaries.json").read_text())
    binaries = {name: path for name, path in binaries.items() if name not in os.environ.get("WITHOUT", "").split()}
    sound = True
    tree = copy / "tree"
    for name, path in binaries.items():
        if failed := judge(tree, 0, path, False):
            sound = False
            print("fails without a mutant:", name, failed)
    if not sound:
        raise SystemExit(1)
    todo = [mutant for mutant in mutants if str(mutant["number"]) not in outcomes and pattern.search(mutant["name"])]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        jobs = {pool.submit(one, tree, mutant, binaries): mutant for mutant in todo}
        for count, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            mutant, outcome = jobs[job], job.result()
            outcomes[str(mutant["number"])] = outcome
            if outcome == "survived":
                print("survived:", mutant["name"], flush=True)
            if count % 20 == 0 or count == len(todo):
                store.write_text(json.dumps(outcomes))
                print(f"{count} of {len(todo)}", flush=True)
    store.write_text(json.dumps(outcomes))


def constants(copy):
    pattern = re.compile(sys.argv[3] if len(sys.argv) > 3 else ".")
    kept = {tuple(key) for key in json.loads((copy / "dropped.json").read_text())[1]}
    fixed = lambda mutant: mutant["function"] is None or (mutant["file"], span_key(mutant["function"])) in kept
    store = copy / "outcomes.json"
    outcomes = json.loads(store.read_text()) if store.exists() else {}
    tree = copy / "constants"
    copied(tree)
    for mutant in json.loads((copy / "mutants.json").read_text()):
        number = str(mutant["number"])
        if number in outcomes or not fixed(mutant) or not pattern.search(mutant["name"]):
            continue
        text = (ROOT / mutant["file"]).read_text()
        lines = text.splitlines(keepends=True)
        at, to = offset(lines, mutant["span"]["start"]), offset(lines, mutant["span"]["end"])
        (tree / mutant["file"]).write_text(text[:at] + mutant["replacement"] + text[to:])
        binaries = tests_of(tree, quiet=True)
        outcomes[number] = one(tree, mutant, binaries) if binaries else "unviable"
        (tree / mutant["file"]).write_text(text)
        store.write_text(json.dumps(outcomes))
        print(outcomes[number], mutant["name"], flush=True)


def one(tree, mutant, binaries):
    short = mutant["file"].removeprefix("crates/attest/src/")
    first = next((names for prefix, names in FIRST if short.startswith(prefix)), [])
    order = [name for name in first if name in binaries] + [name for name in binaries if name not in first]
    order.sort(key=lambda name: name in LAST)
    for slow in (False,) if os.environ.get("QUICK") else (False, True):
        for name in order:
            if failed := judge(tree, mutant["number"], binaries[name], slow):
                return f"{name}: {failed}"
    return "survived"


def judge(tree, number, path, slow):
    """The first test that fails, or None. What takes far more of the processor's time than any test is a loop."""
    arguments = [path, "--test-threads=2", "-q"]
    if slow:
        arguments += SLOW
    else:
        for word in SLOW:
            arguments += ["--skip", word]
    seconds = 900 if slow else 60

    def bounded():
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    done = subprocess.run(
        arguments,
        cwd=tree / "crates/attest",
        env={**os.environ, "MUTANT": str(number)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=bounded,
    )
    if done.returncode == 0:
        return None
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return "timeout"
    text = done.stdout.decode(errors="replace")
    found = re.search(r"^---- (\S+) stdout", text, re.M) or re.search(r"^    (\S+)$", text, re.M)
    return found.group(1) if found else f"exit {done.returncode}"


def report(copy):
    mutants = json.loads((copy / "mutants.json").read_text())
    outcomes = json.loads((copy / "outcomes.json").read_text())
    dropped = set(json.loads((copy / "dropped.json").read_text())[0])
    table = collections.defaultdict(collections.Counter)
    for mutant in mutants:
        file = mutant["file"].removeprefix("crates/attest/src/")
        outcome = outcomes.get(str(mutant["number"]))
        word = (
            outcome if outcome in ("survived", "unviable")
            else "not run" if outcome is None and (mutant["viable"] or mutant["number"] not in dropped)
            else "unviable" if outcome is None
            else "timeout" if outcome.endswith(": timeout")
            else "caught"
        )
        table[file][word] += 1
        table["all"][word] += 1
    for file, counts in table.items():
        print(f"{file:24}", dict(counts))
    for mutant in mutants:
        if outcomes.get(str(mutant["number"])) == "survived":
            print("survived:", mutant["name"])


main()
