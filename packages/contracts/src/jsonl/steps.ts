/**
 * Work in short steps: whoever runs it may let others have their turn between two of them. `STEP_BYTES` is how many bytes
 * one step looks at, about.
 */
export type Steps<Result> = Generator<void, Result>;

export const STEP_BYTES = 128 * 1024;
/** Longer texts are read in steps. */
export const LONG_TEXT_BYTES = 256 * 1024;

/** Runs all steps at once, for who has nobody waiting. */
export function allSteps<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
