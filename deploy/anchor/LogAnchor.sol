// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Roots of one append-only log, each for good under its size (docs/anchor.md). Nothing in here can be changed, and
/// nothing can be upgraded: a lost key means a new contract.
contract LogAnchor {
    /// Who may append: whoever deployed this. It shares a slot with `size`, so that a call pays for one.
    address public owner;
    /// How many entries the newest root is over.
    uint64 public size;
    /// SHA-256 of the log's key as its text stands in C2SP signed-note.
    bytes32 public log;
    /// The root over the first `size` entries; zero where none was anchored.
    mapping(uint64 size => bytes32 root) public rootOf;

    event Anchored(uint64 indexed size, bytes32 root);

    error NotOwner();
    error NotLarger(uint64 size);
    error NoRoot();

    constructor(bytes32 ofLog) {
        owner = msg.sender;
        log = ofLog;
    }

    function anchor(uint64 newSize, bytes32 root) external {
        if (msg.sender != owner) revert NotOwner();
        if (newSize <= size) revert NotLarger(size);
        if (root == 0) revert NoRoot();
        size = newSize;
        rootOf[newSize] = root;
        emit Anchored(newSize, root);
    }
}
