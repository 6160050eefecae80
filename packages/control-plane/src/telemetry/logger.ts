import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/**
 * JSON lines on stderr (stdout belongs to data). An error is logged with its message, code and stack and the causes of
 * it; request and response bodies are never logged, at no level.
 */
export function createLogger(params: { level: string }): Logger {
  return pino(
    {
      level: params.level,
      base: { service: 'control-plane' },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError, err: describeError },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Logs nothing: for tests and for programs that embed the control plane. */
export const silentLogger = (): Logger => pino({ level: 'silent' });

/**
 * What is logged of an error: name, message, code and stack, and the same of its cause. Everything else that drivers hang
 * on their errors is left out: a database's `detail` quotes the row, and with it what clients sent.
 */
export function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error };
  return {
    type: error.name,
    message: error.message,
    ...('code' in error && typeof error.code === 'string' ? { code: error.code } : {}),
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}
