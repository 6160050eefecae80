/**
 * Splits a command line as a POSIX shell does, without running one: white space separates, single quotes keep all,
 * double quotes and backslashes work as usual. Variables, globs, pipes and redirections are plain text.
 * @throws {SyntaxError} when a quote is not closed.
 */
export function splitShellWords(command: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let at = 0; at < command.length; at += 1) {
    const char = command[at] ?? '';
    const next = command[at + 1];
    if (quote === null && /\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (quote === null && (char === '"' || char === "'")) {
      quote = char;
      word ??= '';
    } else if (char === quote) {
      quote = null;
    } else if (char === '\\' && next !== undefined && escapes(quote, next)) {
      word = (word ?? '') + (next === '\n' ? '' : next);
      at += 1;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== null) throw new SyntaxError(`a ${quote} in the command is not closed`);
  if (word !== null) words.push(word);
  return words;
}

const escapes = (quote: '"' | "'" | null, next: string): boolean =>
  quote === null || (quote === '"' && '"\\$`\n'.includes(next));

/** The word as a shell has to be given it: in single quotes where anything in it could mean something. */
export const quoteShellWord = (word: string): string =>
  /^[\w@%+=:,./{}-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
