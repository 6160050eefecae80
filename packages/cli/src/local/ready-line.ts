import { visible } from '../terminal/visible-text.js';

export type Part = 'serve' | 'runner' | 'up';

/** The line that says that a part can take work. A contract: scripts wait for it on stderr. */
export const readyLine = (part: Part, what: string): string => `batch-infer ${part} ready ${visible(what)}\n`;

/** What stands behind `ready` in such a line; `null` for other lines. */
export function parseReadyLine(part: Part, line: string): string | null {
  const head = readyLine(part, '').trimEnd();
  return line.startsWith(`${head} `) ? line.slice(head.length + 1).trimEnd() : null;
}
