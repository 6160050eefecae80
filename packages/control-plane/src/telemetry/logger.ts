import { type Logger, pino, stdSerializers } from 'pino';

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
      serializers: { error: stdSerializers.err },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Logs nothing: for tests and for programs that embed the control plane. */
export const silentLogger = (): Logger => pino({ level: 'silent' });
