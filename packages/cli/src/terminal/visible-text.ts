/**
 * Foreign text on its way to a terminal or a log of CI. Names, messages and metadata come from clients and engines: an
 * escape sequence in them would write over the screen, its title or the clipboard, a line break would begin a line of
 * its own, and a bidirectional control would show words in another order than they have.
 */

const CONTROLS = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Every control character, line breaks included, as a sign: `␛`, `␊`, `\\u009b`. */
export const visible = (text: string): string => text.replaceAll(CONTROLS, signOf);

/** The same for text of several lines, which stay lines; nothing in JSON changes its meaning. */
export const visibleLines = (text: string): string =>
  text.replaceAll(CONTROLS, (control) => (control === '\n' || control === '\t' ? control : signOf(control)));

function signOf(control: string): string {
  const code = control.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return `\\u${code.toString(16).padStart(4, '0')}`;
}

/** In GitHub Actions a line is a command when it begins with `::` (after white space), or has `##[` anywhere. */
const withoutWorkflowCommands = (text: string): string =>
  text.replaceAll(/^(\s*):(?=:)/gm, '$1\ua789').replaceAll('##[', '#\u200b#[');

/** What is told to people: every line as it is to be seen, and in GitHub Actions never a command. */
export function safeTalk(text: string, environment: Readonly<Record<string, string | undefined>>): string {
  const shown = visibleLines(text);
  return environment.GITHUB_ACTIONS === 'true' ? withoutWorkflowCommands(shown) : shown;
}
