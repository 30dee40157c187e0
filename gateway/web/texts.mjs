// What the page says, in the language of the document or of the session. The English is in the source; the page carries
// the other languages with it.

let language = "en";
let texts = {};

/** Takes the texts that the page carries, by language, and the language to begin with. */
export function learn(carried, first) {
  texts = carried;
  language = first;
}

/** Speaks the language of a locale from now on, where the page has it; English otherwise. The language. */
export function speak(locale) {
  const primary = locale.split("-")[0];
  language = primary in texts ? primary : "en";
  return language;
}

/** The language that is spoken. */
export function spoken() {
  return language;
}

/** A text in the language, with `{name}` filled in from the values. */
export function t(english, values = {}) {
  const text = texts[language]?.[english] ?? english;
  return text.replace(/\{(\w+)\}/g, (mark, name) => (name in values ? String(values[name]) : mark));
}
