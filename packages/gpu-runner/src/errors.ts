/** Why a runner cannot start or go on. The exit code is the one that the command line ends with. */
const EXIT_CODES = {
  invalid_config: 2,
  model_not_served: 2,
  transport_mismatch: 2,
  protocol_mismatch: 2,
  not_a_server: 2,
  unauthorized: 4,
  engine_unavailable: 9,
  not_an_engine: 9,
  no_models: 9,
  launch_failed: 9,
} as const;

export type RunnerErrorCode = keyof typeof EXIT_CODES;

/** `message` says what and why and the next step; it never holds a key, a prompt or a completion. */
export class RunnerError extends Error {
  override readonly name = 'RunnerError';
  readonly code: RunnerErrorCode;
  readonly exitCode: number;

  constructor(code: RunnerErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.exitCode = EXIT_CODES[code];
  }
}
