import { isTerminal } from '@batch-infer/contracts';
import type { PauseLedger } from '../ports/pausing.js';
import type { Database } from './dialect.js';
import { lockJob } from './jobs.js';
import { toJobRecord } from './rows.js';
import { STOPPABLE_STATES } from './states.js';

export const pauseLedger = (database: Database): PauseLedger => ({
  setPaused: ({ projectId, id, paused, nowMs }) =>
    database.transaction(async (session) => {
      const row = await lockJob(session, id);
      if (row === null || row.project_id !== projectId) return null;
      if (isTerminal(row.state)) return { outcome: 'ended', job: toJobRecord(row) };
      if (!STOPPABLE_STATES.includes(row.state)) return { outcome: 'ending', job: toJobRecord(row) };
      if (paused === (row.paused_at !== null)) return { outcome: 'unchanged', job: toJobRecord(row) };
      const change = { paused_at: paused ? nowMs : null, version: row.version + 1 };
      await session.db.updateTable('job').set(change).where('id', '=', id).execute();
      // Whoever has these offers is refused; after the resume they are made anew, and at once.
      await session.db
        .updateTable('shard')
        .set({ offered_at: null })
        .where('job_id', '=', id)
        .where('state', '=', 'ready')
        .where('offered_at', 'is not', null)
        .execute();
      return { outcome: 'changed', job: toJobRecord({ ...row, ...change }) };
    }),
});
