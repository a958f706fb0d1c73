//! The tree against the recursive definition of RFC 6962, section 2.1, and heads that must not advance.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use ed25519_dalek::SigningKey;
use envelope::Digest;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tlog::{
    Commitment, ConsistencyProof, Head, Included, LogProof, LogSigner, LogTree, Opening, Record, Rollback,
    SignedCheckpoint, Tile, TileKind, TlogError, TreeHash, VerifiedCheckpoint, WitnessPolicy, WitnessSigner,
    decode_bundle, encode_bundle, tile_path,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn roots_and_proofs_equal_the_naive_tree(size in 1_usize..300, at in any::<prop::sample::Index>()) {
        let (tree, entries) = grown(size);
        let at = at.index(size);
        prop_assert_eq!(tree.root(size as u64).unwrap(), naive_root(&entries));
        let proof = tree.prove_inclusion(size as u64, at as u64).unwrap();
        prop_assert_eq!(proof.path(), naive_path(at, &entries));
        let proof = tree.prove_consistency(size as u64, at as u64 + 1).unwrap();
        prop_assert_eq!(proof.path(), naive_consistency(at + 1, &entries, true));
    }

    #[test]
    fn every_head_extends_every_earlier_one_and_no_changed_proof_passes(
        from in 0_u64..80, more in 0_u64..80, position in any::<prop::sample::Index>(),
    ) {
        let (tree, _) = grown((from + more) as usize);
        let known = Head::first(head_of(&tree, from));
        let new = head_of(&tree, from + more);
        let proof = tree.prove_consistency(from + more, from).unwrap();
        prop_assert!(known.advance(new.clone(), &proof).is_ok());
        let refused = TlogError::NotConsistent { from, to: from + more };
        let mut path = proof.path().to_vec();
        path.push(TreeHash::EMPTY);
        prop_assert_eq!(known.advance(new.clone(), &ConsistencyProof::new(path.clone()).unwrap()), Err(refused.clone()));
        path.pop();
        if !path.is_empty() {
            let position = position.index(path.len());
            path[position] = TreeHash::EMPTY;
            prop_assert_eq!(known.advance(new, &ConsistencyProof::new(path).unwrap()), Err(refused));
        }
    }

    #[test]
    fn tiles_hold_the_naive_hashes(size in 1_u64..700) {
        let (tree, entries) = grown(size as usize);
        for index in 0..size.div_ceil(256) {
            let first = index * 256;
            let width = (size - first).min(256) as u16;
            let tile = Tile::new(TileKind::Hashes(0), index, width).unwrap();
            let expected: Vec<u8> = (first..first + u64::from(width))
                .flat_map(|at| *naive_root(&entries[at as usize..=at as usize]).as_bytes()).collect();
            prop_assert_eq!(tree.tile(&tile).unwrap(), expected);
            let bundle = tree.tile(&Tile::new(TileKind::Entries, index, width).unwrap()).unwrap();
            let expected: Vec<Vec<u8>> = entries[first as usize..(first + u64::from(width)) as usize]
                .iter().map(|entry| entry.as_bytes().to_vec()).collect();
            prop_assert_eq!(decode_bundle(&bundle, width).unwrap(), expected);
        }
        for index in 0..size / 256 {
            let tile = Tile::new(TileKind::Hashes(1), 0, index as u16 + 1).unwrap();
            let last = naive_root(&entries[index as usize * 256..(index as usize + 1) * 256]);
            prop_assert!(tree.tile(&tile).unwrap().ends_with(last.as_bytes()));
        }
    }

    #[test]
    fn readers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), width in 0_u16..300) {
        let _ = decode_bundle(&bytes, width);
        let _ = LogProof::parse(&bytes);
        let _ = SignedCheckpoint::verify(&bytes, signer().key(), &WitnessPolicy::none());
        let _ = String::from_utf8_lossy(&bytes).parse::<Tile>();
    }

    #[test]
    fn bundles_round_trip(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..256)) {
        let bundle = encode_bundle(&entries).unwrap();
        prop_assert_eq!(decode_bundle(&bundle, entries.len() as u16).unwrap(), entries.clone());
        prop_assert_eq!(decode_bundle(&bundle, entries.len() as u16 + 1), Err(TlogError::MalformedBundle));
        prop_assert_eq!(decode_bundle(&bundle[..bundle.len() - 1], entries.len() as u16), Err(TlogError::MalformedBundle));
    }
}

#[test]
fn l5_a_smaller_tree_is_refused() {
    let (tree, _) = grown(20);
    let known = Head::first(head_of(&tree, 20));
    let proof = ConsistencyProof::new(Vec::new()).unwrap();
    assert_eq!(known.advance(head_of(&tree, 19), &proof), Err(TlogError::Shrunk { known: 20, offered: 19 }));
    assert_eq!(known.advance(head_of(&tree, 0), &proof), Err(TlogError::Shrunk { known: 20, offered: 0 }));
}

#[test]
fn l3_a_fork_of_the_same_size_is_refused() {
    let (mut left, _) = grown(20);
    let mut right = left.clone();
    left.append(entry(1000)).unwrap();
    right.append(entry(1001)).unwrap();
    let known = Head::first(head_of(&left, 21));
    let proof = ConsistencyProof::new(Vec::new()).unwrap();
    assert_eq!(known.advance(head_of(&right, 21), &proof), Err(TlogError::Forked(21)));
    assert!(known.advance(head_of(&left, 21), &proof).is_ok());
}

#[test]
fn l3_a_fork_that_has_grown_is_refused() {
    let (mut left, _) = grown(20);
    let mut right = left.clone();
    left.append(entry(1000)).unwrap();
    for number in 1001..1010 {
        right.append(entry(number)).unwrap();
    }
    let known = Head::first(head_of(&left, 21));
    let proof = right.prove_consistency(29, 21).unwrap();
    assert_eq!(known.advance(head_of(&right, 29), &proof), Err(TlogError::NotConsistent { from: 21, to: 29 }));
}

#[test]
fn l3_a_head_of_another_log_is_refused() {
    let (tree, _) = grown(5);
    let known = Head::first(head_of(&tree, 5));
    let other = LogSigner::new("log.example", SigningKey::from_bytes(&[9; 32])).unwrap();
    let bytes = tree.checkpoint(&other).unwrap();
    let new = SignedCheckpoint::verify(bytes.as_bytes(), other.key(), &WitnessPolicy::none()).unwrap();
    let refused = TlogError::OtherLog { expected: signer().key().to_string(), found: other.key().to_string() };
    assert_eq!(known.advance(new, &ConsistencyProof::new(Vec::new()).unwrap()), Err(refused));
}

#[test]
fn l7_a_node_cannot_pass_for_a_leaf() {
    // Two leaves under one node: without domains, SHA-256 of the pair would be the hash of a 64-byte entry.
    let (tree, entries) = grown(2);
    let pair = [naive_root(&entries[..1]), naive_root(&entries[1..])].map(|hash| *hash.as_bytes()).concat();
    let as_leaf: [u8; 32] = Sha256::new().chain_update([0]).chain_update(&pair).finalize().into();
    assert_ne!(tree.root(2).unwrap(), TreeHash::from_bytes(as_leaf));
    // And an entry that equals the root of a subtree is still hashed as an entry.
    let entry = Commitment::from_bytes(*tree.root(2).unwrap().as_bytes());
    assert_ne!(entry.leaf_hash(), tree.root(2).unwrap());
}

#[test]
fn l7_the_domain_of_a_leaf_cannot_move_between_its_parts() {
    let record = Digest::of(b"record");
    let salt = [7; 32];
    let plain = Commitment::new("run", &record, &salt);
    assert_ne!(Commitment::new("ru", &record, &salt), plain);
    assert_ne!(Commitment::new("run", &Digest::from_bytes(salt), record.as_bytes()), plain);
}

#[test]
fn l7_proofs_of_64_lines_are_refused_in_every_form() {
    let path = vec![TreeHash::EMPTY; 64];
    assert_eq!(ConsistencyProof::new(path.clone()), Err(TlogError::ProofTooLong(64)));
    assert_eq!(tlog::InclusionProof::new(0, path.clone()), Err(TlogError::ProofTooLong(64)));
    let lines = "\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".repeat(64);
    let text = format!("c2sp.org/tlog-proof@v1\nindex 0{lines}\n\nlog\n");
    assert_eq!(LogProof::parse(text.as_bytes()), Err(TlogError::ProofTooLong(64)));
    let json = serde_json::to_string(&path).unwrap();
    let error = serde_json::from_str::<ConsistencyProof>(&json).unwrap_err().to_string();
    assert!(error.starts_with("proof has 64 lines, at most 63 are possible"), "{error}");
}

#[test]
fn l7_a_tile_wider_than_the_tree_does_not_exist() {
    let (tree, _) = grown(300);
    let tile = |kind, index, width| tree.tile(&Tile::new(kind, index, width).unwrap());
    assert_eq!(tile(TileKind::Hashes(0), 1, 44).unwrap().len(), 44 * 32);
    assert_eq!(tile(TileKind::Hashes(0), 1, 45), Err(TlogError::NoSuchTile(300)));
    assert_eq!(tile(TileKind::Entries, 1, 45), Err(TlogError::NoSuchTile(300)));
    assert_eq!(tile(TileKind::Hashes(1), 0, 2), Err(TlogError::NoSuchTile(300)));
    assert_eq!(tile(TileKind::Hashes(7), 0, 1), Err(TlogError::NoSuchTile(300)));
    assert_eq!(tile_path(0, 1_234_067, 8).unwrap(), "tile/0/x001/x234/067.p/8");
    assert_eq!(tile_path(0, 0, 0), Err(TlogError::MalformedTilePath("tile/0/000.p/0".into())));
}

#[test]
fn a_proof_file_carries_an_entry_to_somebody_who_has_only_the_keys() {
    let mut tree = LogTree::new();
    tree.append(entry(0)).unwrap();
    let opening = Opening { kind: "run".into(), record: Digest::of(b"a run"), salt: [3; 32] };
    let index = tree.append(opening.commitment()).unwrap();
    tree.append(entry(1)).unwrap();
    let witness = WitnessSigner::new("witness.example", SigningKey::from_bytes(&[8; 32])).unwrap();
    let checkpoint = tree.checkpoint(&signer()).unwrap().cosign(&witness, 1_700_000_000).unwrap();
    let file = LogProof {
        extra: Some(serde_json::to_vec(&opening).unwrap()),
        inclusion: tree.prove_inclusion(3, index).unwrap(),
        checkpoint: checkpoint.as_bytes().to_vec(),
    };
    let read = LogProof::parse(&file.encode()).unwrap();
    assert_eq!(read, file);

    let policy = WitnessPolicy::new(1, vec![witness.key().clone()]).unwrap();
    let head = SignedCheckpoint::verify(&read.checkpoint, signer().key(), &policy).unwrap();
    assert_eq!(head.cosigned()[0].time(), 1_700_000_000);
    let opening: Opening = serde_json::from_slice(&read.extra.unwrap()).unwrap();
    let included = Included::check(opening, &read.inclusion, &head).unwrap();
    assert_eq!(included.rollback(), Rollback::Witnessed(1));
    assert_eq!(included.clone().resolve(&Run(b"another run")).unwrap_err(), TlogError::OtherRecord);
    let other = included.clone().resolve(&Release).unwrap_err();
    assert_eq!(other, TlogError::OtherKind { expected: "key-release", found: "run".into() });
    assert_eq!(included.resolve(&Run(b"a run")).unwrap().index(), 1);
}

#[test]
fn a_policy_lists_each_witness_once_and_can_be_satisfied() {
    let key = |name, seed| WitnessSigner::new(name, SigningKey::from_bytes(&[seed; 32])).unwrap().key().clone();
    let duplicate = TlogError::DuplicateWitness("a".into());
    assert_eq!(WitnessPolicy::new(1, vec![key("a", 1), key("b", 1)]), Err(duplicate.clone()));
    assert_eq!(WitnessPolicy::new(1, vec![key("a", 1), key("a", 2)]), Err(duplicate));
    let unsatisfiable = TlogError::UnsatisfiablePolicy { needed: 2, listed: 1 };
    assert_eq!(WitnessPolicy::new(2, vec![key("a", 1)]), Err(unsatisfiable));
    let policy = WitnessPolicy::new(1, vec![key("a", 1), key("b", 2)]).unwrap();
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<WitnessPolicy>(&text).unwrap(), policy);
    assert!(serde_json::from_str::<WitnessPolicy>(&text.replace("\"k\":1", "\"k\":3")).is_err());
}

#[test]
fn a_log_signs_only_for_itself() {
    let checkpoint = tlog::Checkpoint::new("other.example", 0, TreeHash::EMPTY).unwrap();
    let refused = TlogError::OtherLog { expected: "log.example".into(), found: "other.example".into() };
    assert_eq!(checkpoint.sign(&signer()), Err(refused));
    assert_eq!(tlog::Checkpoint::new("a\nb", 0, TreeHash::EMPTY), Err(TlogError::MalformedCheckpoint));
}

struct Run(&'static [u8]);
#[derive(Debug)]
struct Release;

impl Record for Run {
    const KIND: &'static str = "run";
    fn digest(&self) -> Digest {
        Digest::of(self.0)
    }
}

impl Record for Release {
    const KIND: &'static str = "key-release";
    fn digest(&self) -> Digest {
        Digest::of(b"a run")
    }
}

fn signer() -> LogSigner {
    LogSigner::new("log.example", SigningKey::from_bytes(&[5; 32])).unwrap()
}

fn entry(number: u64) -> Commitment {
    Commitment::new("test", &Digest::of(&number.to_be_bytes()), &[1; 32])
}

fn grown(size: usize) -> (LogTree, Vec<Commitment>) {
    let entries: Vec<_> = (0..size as u64).map(entry).collect();
    let mut tree = LogTree::new();
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(tree.append(*entry).unwrap(), index as u64);
    }
    (tree, entries)
}

fn head_of(tree: &LogTree, size: u64) -> VerifiedCheckpoint {
    let checkpoint = tlog::Checkpoint::new("log.example", size, tree.root(size).unwrap()).unwrap();
    let bytes = checkpoint.sign(&signer()).unwrap();
    SignedCheckpoint::verify(bytes.as_bytes(), signer().key(), &WitnessPolicy::none()).unwrap()
}

/// MTH(D\[n\]) as section 2.1 defines it.
fn naive_root(entries: &[Commitment]) -> TreeHash {
    let hash = match entries {
        [] => Sha256::digest([]),
        [entry] => Sha256::new().chain_update([0]).chain_update(entry.as_bytes()).finalize(),
        _ => {
            let (left, right) = entries.split_at(split(entries.len()));
            let hash = Sha256::new().chain_update([1]).chain_update(naive_root(left).as_bytes());
            hash.chain_update(naive_root(right).as_bytes()).finalize()
        }
    };
    TreeHash::from_bytes(hash.into())
}

/// PATH(m, D\[n\]) as section 2.1.1 defines it.
fn naive_path(m: usize, entries: &[Commitment]) -> Vec<TreeHash> {
    if entries.len() == 1 {
        return Vec::new();
    }
    let (left, right) = entries.split_at(split(entries.len()));
    let (mut path, last) = match m.checked_sub(left.len()) {
        None => (naive_path(m, left), naive_root(right)),
        Some(m) => (naive_path(m, right), naive_root(left)),
    };
    path.push(last);
    path
}

/// SUBPROOF(m, D\[n\], b) as section 2.1.2 defines it.
fn naive_consistency(m: usize, entries: &[Commitment], known: bool) -> Vec<TreeHash> {
    if m == entries.len() {
        return if known { Vec::new() } else { vec![naive_root(entries)] };
    }
    let (left, right) = entries.split_at(split(entries.len()));
    let (mut path, last) = if m <= left.len() {
        (naive_consistency(m, left, known), naive_root(right))
    } else {
        (naive_consistency(m - left.len(), right, false), naive_root(left))
    };
    path.push(last);
    path
}

fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}
