import { pino } from 'pino';

/** What the runner says while it works. A pino logger fits. Fields never hold prompts, completions or keys. */
export interface RunnerLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** JSON lines on stderr: stdout is data. */
export const createLogger = (level: string): RunnerLogger =>
  pino({ name: 'gpu-runner', level }, pino.destination({ fd: 2, sync: true }));

/** The short text of anything thrown. */
export const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null;
  return error.message === '' ? (code ?? error.name) : error.message;
};
