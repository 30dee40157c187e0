// Prints what keno/fairness/anchor/LogAnchor.json holds: the contract's interface and its code, compiled here.
// Code without metadata, so that it depends on the source's meaning, the compiler and these settings alone.
import { readFileSync } from "node:fs";
import solc from "solc";

const name = "LogAnchor";
const content = readFileSync(new URL(`${name}.sol`, import.meta.url), "utf8");
const settings = {
  optimizer: { enabled: true, runs: 1_000_000 },
  evmVersion: "cancun",
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};
const sources = { [`${name}.sol`]: { content } };
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
if (output.errors) {
  for (const each of output.errors) console.error(each.formattedMessage);
  process.exit(1);
}
const { abi, evm } = output.contracts[`${name}.sol`][name];
const artifact = {
  compiler: solc.version(),
  evm_version: settings.evmVersion,
  abi,
  creation_code: evm.bytecode.object,
  runtime_code: evm.deployedBytecode.object,
};
process.stdout.write(JSON.stringify(artifact, null, 1) + "\n");
