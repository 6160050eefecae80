import { visible } from '../terminal/visible-text.js';

/**
 * A line of a part's JSON log for people: `warn: text (jobId=job_1 loop=finalizer reason="…")`; other lines stay as they
 * are. What every line has (time, process, name of the service) is left out.
 */
export function formatLogLine(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const { level, msg, ...fields }: Record<string, unknown> = JSON.parse(line);
    if (typeof msg !== 'string') return line;
    const shown = Object.entries(fields).flatMap(([name, value]) =>
      LEFT_OUT.has(name) || value === null || value === '' ? [] : [`${name}=${formatValue(value)}`],
    );
    return `${levelName(level)}: ${visible(msg)}${shown.length === 0 ? '' : ` (${shown.join(' ')})`}`;
  } catch {
    return line;
  }
}

const LEFT_OUT = new Set(['time', 'pid', 'hostname', 'name', 'service', 'v']);
const MAX_VALUE_CHARS = 500;

/** Words as they are; everything else as JSON, so that nothing of it can steer a terminal or look like the next field. */
function formatValue(value: unknown): string {
  if (typeof value === 'string' && /^[\w.:/@+-]+$/.test(value)) return cut(value);
  return cut(visible(JSON.stringify(isError(value) ? reasonOf(value) : value)));
}

interface LoggedError {
  readonly message: string;
  readonly code?: unknown;
}

/** An error as pino writes it: with its stack, which is for the log file. */
const isError = (value: unknown): value is LoggedError =>
  typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string';

const reasonOf = ({ message, code }: LoggedError): string =>
  code === undefined || message.includes(String(code)) ? message : `${message} (${code})`;

const cut = (text: string): string =>
  text.length <= MAX_VALUE_CHARS ? text : `${text.slice(0, MAX_VALUE_CHARS)}…`;

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
