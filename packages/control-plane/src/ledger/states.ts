import { isTerminal, JOB_STATES, type JobState } from '@batch-infer/contracts';

/** States of jobs that have not ended. */
export const OPEN_STATES: readonly JobState[] = JOB_STATES.filter((state) => !isTerminal(state));

/** States of jobs that have. */
export const ENDED_STATES: readonly JobState[] = JOB_STATES.filter(isTerminal);

/** States in which a job may be stopped, and in which its time runs out. */
export const STOPPABLE_STATES: readonly JobState[] = ['validating', 'queued', 'running'];
