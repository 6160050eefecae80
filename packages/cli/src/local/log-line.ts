/** A line of a part's JSON log for people: `warn: text (reason)`; other lines stay as they are. */
export function formatLogLine(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const entry: Record<string, unknown> = JSON.parse(line);
    if (typeof entry.msg !== 'string') return line;
    return `${levelName(entry.level)}: ${entry.msg}`;
  } catch {
    return line;
  }
}

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

const levelName = (level: unknown): string =>
  typeof level === 'number' ? (LEVELS[level] ?? String(level)) : typeof level === 'string' ? level : 'log';
