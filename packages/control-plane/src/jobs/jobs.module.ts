import { Module } from '@nestjs/common';
import { JobWatch } from '../events/job-watch.js';
import { Files } from '../files/files.js';
import { Retention } from '../files/retention.js';
import { Uploads } from '../files/uploads.js';
import { Finalizer } from '../finalize/finalizer.js';
import { OutputFiles } from '../finalize/output-files.js';
import { Ingest } from '../ingest/ingest.js';
import { JobPlans } from '../plan/job-plans.js';
import { WorkPlans } from '../plan/work-plans.js';
import { EarlierAnswers } from '../reuse/earlier-answers.js';
import { Fleet } from './fleet.js';
import { ItemReader } from './item-reader.js';
import { JobCreation } from './job-creation.js';
import { JobTries } from './job-tries.js';
import { JobViews } from './job-views.js';
import { Jobs } from './jobs.js';
import { Planner } from './planner.js';
import { Results } from './results.js';

const SERVICES = [
  EarlierAnswers,
  Files,
  Finalizer,
  Fleet,
  Ingest,
  ItemReader,
  JobCreation,
  JobPlans,
  JobTries,
  JobViews,
  JobWatch,
  Jobs,
  OutputFiles,
  Planner,
  Results,
  Retention,
  Uploads,
  WorkPlans,
];

/** Use cases of jobs and files, for every dialect. The ports come from the global `CoreModule`. */
@Module({ providers: SERVICES, exports: SERVICES })
export class JobsModule {}
