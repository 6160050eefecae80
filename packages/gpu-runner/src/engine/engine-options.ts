import type { Clock } from '../clock.js';
import type { RunnerLogger } from '../logger.js';
import type { EngineConnection } from './client.js';
import type { Engine } from './engine.js';
import type { WindowLimits } from './load.js';

export interface EngineOptions {
  readonly id: string;
  readonly url: string;
  readonly apiKey: string | null;
  readonly limits: WindowLimits;
  /** Default: HTTP to its address. */
  readonly connection?: EngineConnection;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: RunnerLogger;
  /** `null`: its health is seen from its answers alone. */
  readonly healthPath: string | null;
  /** True when another engine of the runner serves the model and takes work. */
  readonly elsewhere: (model: string) => boolean;
  /** Its list of models is another one than before. */
  readonly onModels: () => void;
  /** It fails everything for some model: what it failed of late was not the items' fault. */
  readonly onFailing: (engine: Engine) => void;
  /** Asks it which models it has now; `null` when it does not say. */
  readonly listModels: () => Promise<readonly string[] | null>;
  /** Called when the engine may take more requests than before, or none any more. */
  readonly onChange: () => void;
}
