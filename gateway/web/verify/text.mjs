// Verdicts as lines of text, in which nothing that evidence contains can make a line or a control sequence of its own.

const LABELS = { ok: "ok          ", FAIL: "FAIL        ", missing: "not checked ", skipped: "not checked " };

/** The lines of some file reports; `quiet` leaves the single checks out. */
export function* textLines(reports, quiet) {
  for (const report of reports) for (const line of fileLines(report, quiet)) yield printable(line);
}

function* fileLines(file, quiet) {
  if (file.malformed !== null) yield `${file.name}: malformed: ${file.malformed}`;
  else if (file.rounds.length === 0) yield `${file.name}: incomplete: no round line`;
  for (const report of file.rounds) {
    if (!quiet) {
      yield report.name;
      for (const { name, verdict, detail } of report.checks) {
        yield `  ${LABELS[verdict]} ${name}${detail === "" ? "" : `: ${detail}`}`;
      }
    }
    yield `${report.name}: ${report.verdict}`;
  }
  for (const fault of file.faults) yield `${file.name}: VIOLATION: ${fault}`;
}

function printable(line) {
  return line.replace(/[^ -~]/gu, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}
