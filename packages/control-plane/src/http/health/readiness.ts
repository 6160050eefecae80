import type { OfferPublisher } from '@batch-infer/transport';
import { Inject, Injectable } from '@nestjs/common';
import { codeOf } from '../../boot/boot-error.js';
import type { Blobs } from '../../ports/blobs.js';
import type { Ledger } from '../../ports/ledger.js';
import { BLOBS, KEY_FILE, LEDGER, OFFER_PUBLISHER } from '../../tokens.js';
import type { ApiKeyFile } from '../auth/key-file.js';

export interface Check {
  readonly state: 'up' | 'degraded' | 'down';
  /** Why it is not up. */
  readonly reason: string | null;
}

export interface ReadinessReport {
  /** `degraded`: work is accepted and results are served, but something is away that new work needs. */
  readonly status: 'ready' | 'degraded' | 'not_ready' | 'draining';
  readonly checks: Readonly<Record<'ledger' | 'blobs' | 'transport', Check>> & {
    /** Where there is a file of keys. */
    readonly api_keys?: Check;
  };
}

const CHECK_TIMEOUT_MS = 3_000;
/** A check writes: it is made at most this often, however often one asks. */
const KEEP_MS = 10_000;
/** What was away is looked for again sooner, so that a recovery is seen soon. */
const KEEP_FAILURE_MS = 2_000;

type KeyFile = Pick<ApiKeyFile, 'health'>;

interface StoreChecks {
  readonly ledger: Check;
  readonly blobs: Check;
}

/** Whether this process can take work now. Without ledger or blob store it cannot; without the transport it can. */
@Injectable()
export class Readiness {
  readonly #ledger: Ledger;
  readonly #blobs: Blobs;
  readonly #publisher: OfferPublisher;
  readonly #keyFile: KeyFile | null;
  #draining = false;
  #asking: Promise<StoreChecks> | null = null;
  #known: { readonly checks: StoreChecks; readonly untilMs: number } | null = null;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(BLOBS) blobs: Blobs,
    @Inject(OFFER_PUBLISHER) publisher: OfferPublisher,
    @Inject(KEY_FILE) keyFile: KeyFile | null = null,
  ) {
    this.#ledger = ledger;
    this.#blobs = blobs;
    this.#publisher = publisher;
    this.#keyFile = keyFile;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Not ready from now on, so that nobody sends new work here. */
  drain(): void {
    this.#draining = true;
  }

  /** Answers from the last check while that is young; everybody who asks during a check gets its answer. */
  async report(): Promise<ReadinessReport> {
    const stores = this.#fresh() ?? (await this.#ask());
    const checks = {
      ...stores,
      transport: this.#publisher.health(),
      ...(this.#keyFile === null ? {} : { api_keys: this.#keyFile.health() }),
    };
    return { status: this.#status(checks), checks };
  }

  #fresh(): StoreChecks | null {
    return this.#known !== null && performance.now() < this.#known.untilMs ? this.#known.checks : null;
  }

  #ask(): Promise<StoreChecks> {
    this.#asking ??= this.#checkStores().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #checkStores(): Promise<StoreChecks> {
    const [ledger, blobs] = await Promise.all([
      check('the ledger', () => this.#ledger.check()),
      check('the blob store', () => this.#blobs.check()),
    ]);
    const keepMs = ledger.state === 'up' && blobs.state === 'up' ? KEEP_MS : KEEP_FAILURE_MS;
    const checks = { ledger, blobs };
    this.#known = { checks, untilMs: performance.now() + keepMs };
    return checks;
  }

  #status({
    ledger,
    blobs,
    transport,
    api_keys: apiKeys,
  }: ReadinessReport['checks']): ReadinessReport['status'] {
    if (this.#draining) return 'draining';
    if (ledger.state !== 'up' || blobs.state !== 'up') return 'not_ready';
    return transport.state === 'up' && (apiKeys?.state ?? 'up') === 'up' ? 'ready' : 'degraded';
  }
}

const WORDS: readonly (readonly [codes: RegExp, words: string])[] = [
  [/^(?:53100|SQLITE_FULL|ENOSPC|EDQUOT)$/, 'has no room left on its disk'],
  [/^(?:25006|SQLITE_READONLY.*|EROFS|EACCES)$/, 'is read-only'],
  [/^SQLITE_BUSY/, 'is held by another program'],
];

function reasonOf(name: string, code: string): string {
  const words = WORDS.find(([codes]) => codes.test(code))?.[1] ?? 'does not answer';
  return `${name} ${words} (${code})`;
}

async function check(name: string, ask: () => Promise<void>): Promise<Check> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Check>((resolve) => {
    const answer: Check = { state: 'down', reason: `${name} has not answered within ${CHECK_TIMEOUT_MS} ms` };
    timer = setTimeout(() => resolve(answer), CHECK_TIMEOUT_MS);
  });
  const asked = ask().then(
    (): Check => ({ state: 'up', reason: null }),
    // Driver messages may hold URLs with passwords: the log has the details.
    (error: unknown): Check => ({ state: 'down', reason: reasonOf(name, codeOf(error)) }),
  );
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}
