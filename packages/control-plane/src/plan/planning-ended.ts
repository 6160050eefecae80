/** The plan is not ours to make any more: another planner has the job, it was ended, or this process is about to end. */
export class PlanningEnded extends Error {
  override readonly name = 'PlanningEnded';
}
