// Missed messages as training data for Rasa's NLU: a file `nlu.yml`.

/**
 * @typedef {{ text: string, intent: string }} Example
 */

/** What a line of a block of YAML must not hold: line ends, control characters, half of a pair. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029\ufeff]+/gu;

/**
 * Spells a text of a user as one example. Rasa reads `[x](y)` and `[x]{y}` as an entity; a space
 * between them keeps the text a text.
 * @param {string} text
 */
export function spelledExample(text) {
  return text.replaceAll(UNPRINTABLE, " ").replaceAll(/\](?=[({])/g, "] ").replaceAll(/ +/g, " ").trim();
}

/**
 * Spells examples as training data, by intent, in the order of their names.
 * @param {Example[]} examples
 */
export function nluYaml(examples) {
  /** @type {Map<string, Set<string>>} */
  const byIntent = new Map();
  for (const { text, intent } of examples) {
    const line = spelledExample(text);
    if (!line || !intent) continue;
    const lines = byIntent.get(intent) ?? new Set();
    byIntent.set(intent, lines.add(line));
  }
  const blocks = [...byIntent].sort(([one], [other]) => (one < other ? -1 : 1)).map(([intent, lines]) => {
    // JSON's spelling of a text is one of YAML's.
    const name = /^[a-zA-Z_][\w/-]*$/.test(intent) ? intent : JSON.stringify(intent);
    return `- intent: ${name}\n  examples: |\n${[...lines].map((line) => `    - ${line}\n`).join("")}`;
  });
  return `version: "3.1"\nnlu:${blocks.length ? `\n${blocks.join("\n")}` : " []\n"}`;
}
