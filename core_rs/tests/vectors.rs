//! Replays the published keno1 vectors: every hash of three whole rounds, and two draws.

use std::fs;
use std::path::Path;

use keno_core::keno1::{self, Lock, RoundId, RoundRange};
use keno_core::{Hash, draw, merkle};
use serde_json::Value;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    fs::read_to_string(path).expect("the vectors are part of the repository")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex")).expect("hex")
}

fn hash(value: &Value) -> Hash {
    bytes(value).try_into().expect("32 bytes")
}

fn integer(value: &Value) -> u64 {
    value.as_u64().expect("an unsigned integer")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn numbers(value: &Value) -> draw::Numbers {
    let numbers: Vec<u8> = list(value).iter().map(|number| integer(number) as u8).collect();
    numbers.try_into().expect("20 numbers")
}

fn rounds() -> Vec<Value> {
    let rounds: Vec<Value> =
        read("keno1-rounds.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rounds.len(), 3);
    rounds
}

fn room(round: &Value) -> [u8; 16] {
    bytes(&round["room"]).try_into().expect("16 bytes")
}

#[test]
fn the_published_draws_come_out_number_by_number() {
    let draws: Value = serde_json::from_str(&read("keno1-draws.json")).expect("JSON");
    for vector in list(&draws) {
        let [seed, x, beacon] = ["seed", "x", "beacon"].map(|key| hash(&vector[key]));
        assert_eq!(draw::block(&seed, &x, &beacon, 0), hash(&vector["block0"]));
        if !vector["block1"].is_null() {
            assert_eq!(draw::block(&seed, &x, &beacon, 1), hash(&vector["block1"]));
        }
        assert_eq!(draw::draw(&seed, &x, &beacon), numbers(&vector["numbers"]));
    }
}

#[test]
fn seeds_and_commitments_follow_from_the_epoch_key() {
    for round in rounds() {
        let (room, epoch_key) = (room(&round), hash(&round["epoch_key"]));
        let id = RoundId { room: &room, round: integer(&round["round"]) };
        let seed = keno1::seed(&epoch_key, &id);
        assert_eq!(seed, hash(&round["seed"]));
        assert_eq!(keno1::commit(&id, &seed), hash(&round["commit"]));
        assert_eq!(keno1::key_commit(&epoch_key), hash(&round["key_commit"]));
    }
}

#[test]
fn an_epochs_commitments_have_the_published_root_and_paths() {
    for round in rounds() {
        let (room, count) = (room(&round), integer(&round["epoch_count"]) as usize);
        let range = RoundRange::new(&room, integer(&round["epoch_first"]), count).expect("an epoch");
        let mut commits = vec![0; 32 * count];
        range.commits(&hash(&round["epoch_key"]), &mut commits);
        let root = hash(&round["commits_root"]);
        assert_eq!(range.commits_root(&commits), root);

        let number = integer(&round["round"]);
        let path: Vec<Hash> = list(&round["commit_path"]).iter().map(hash).collect();
        assert_eq!(range.commit_path(&commits, number).expect("a round of the epoch"), path);
        let leaf = merkle::leaf_hash(&[&RoundId { room: &room, round: number }.ctx(), &hash(&round["commit"])]);
        let index = range.index(number).expect("a round of the epoch") as u64;
        assert!(merkle::verify(&root, &leaf, index, count as u64, &path));
    }
}

#[test]
fn locks_draws_and_results_of_whole_rounds_come_out() {
    for round in rounds() {
        let room = room(&round);
        let id = RoundId { room: &room, round: integer(&round["round"]) };
        let leaves: Vec<Vec<u8>> = list(&round["bets"]).iter().map(bytes).collect();
        let bets_root = merkle::root(leaves.iter().map(|leaf| merkle::leaf_hash(&[leaf])));
        assert_eq!(bets_root, hash(&round["bets_root"]));

        let (commit, beacon_round) = (hash(&round["commit"]), integer(&round["beacon_round"]));
        let lock = Lock {
            round: id,
            commit: &commit,
            rules: &hash(&round["rules"]),
            bets_root: &bets_root,
            bets_count: leaves.len() as u64,
            lock_ms: integer(&round["lock_ms"]),
            beacon_round,
            prev_lock: &hash(&round["prev_lock"]),
        };
        let lock = lock.hash();
        assert_eq!(lock, hash(&round["lock"]));

        let x = if round["profile"] == "B" { lock } else { keno1::pre_hash(&id, &commit, beacon_round) };
        assert_eq!(x, hash(&round["x"]));
        let (seed, beacon) = (hash(&round["seed"]), hash(&round["beacon"]));
        assert_eq!(draw::block(&seed, &x, &beacon, 0), hash(&round["block0"]));
        let drawn = draw::draw(&seed, &x, &beacon);
        assert_eq!(drawn, numbers(&round["numbers"]));
        assert_eq!(keno1::result_hash(&lock, &seed, &beacon, &drawn), hash(&round["result"]));
    }
}
