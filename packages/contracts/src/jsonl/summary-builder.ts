import { LIMITS } from '../limits.js';
import { PlanSampler } from './plan-sampler.js';
import type { LineGroup, ScanSummary, ShardRange } from './types.js';

/** One good line as the scanner saw it. */
export interface SeenLine {
  readonly line: number;
  readonly index: number;
  readonly offset: number;
  /** Offset behind its line break. */
  readonly end: number;
  readonly url: string | null;
  readonly model: string | null;
  /** Whether it has a `custom_id`. */
  readonly named: boolean;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Collects what is to be known of a file while its lines go by: groups and shard boundaries. */
export class SummaryBuilder {
  readonly #models = new Map<string, number>();
  readonly #urls = new Map<string, GroupBuilder>();
  readonly #withoutModel = new GroupBuilder();
  readonly #withoutUrl = new GroupBuilder();
  readonly #withoutCustomId = new GroupBuilder();
  readonly #shards: ShardRange[] = [];
  readonly #sampler = new PlanSampler();
  readonly #defaultModel: string | null;
  #open: { first: number; offset: number; end: number; count: number; model: string | null } | null = null;

  constructor(defaultModel: string | null) {
    this.#defaultModel = defaultModel;
  }

  get modelCount(): number {
    return this.#models.size;
  }

  hasModel(model: string): boolean {
    return this.#models.has(model);
  }

  add(seen: SeenLine): void {
    if (!seen.named) this.#withoutCustomId.add(seen.line);
    if (seen.model === null) this.#withoutModel.add(seen.line);
    else this.#models.set(seen.model, (this.#models.get(seen.model) ?? 0) + 1);
    if (seen.url === null) this.#withoutUrl.add(seen.line);
    else {
      let group = this.#urls.get(seen.url);
      if (group === undefined) {
        group = new GroupBuilder();
        this.#urls.set(seen.url, group);
      }
      group.add(seen.line);
    }
    this.#sampler.see(seen.index, seen.body);
    this.#place(seen, seen.model ?? this.#defaultModel);
  }

  #place(seen: SeenLine, model: string | null): void {
    const open = this.#open;
    const fits =
      open !== null &&
      open.model === model &&
      open.count < LIMITS.shardItems &&
      seen.end - open.offset <= LIMITS.shardBytes;
    if (fits) {
      open.count += 1;
      open.end = seen.end;
      return;
    }
    this.#close();
    this.#open = { first: seen.index, offset: seen.offset, end: seen.end, count: 1, model };
  }

  #close(): void {
    const open = this.#open;
    if (open === null) return;
    this.#shards.push({
      first: open.first,
      count: open.count,
      offset: open.offset,
      bytes: open.end - open.offset,
      model: open.model,
    });
    this.#open = null;
  }

  finish(items: number, bytes: number): ScanSummary {
    this.#close();
    return {
      items,
      bytes,
      // fromEntries defines own properties, so that a model named `__proto__` is only a name.
      models: Object.fromEntries(this.#models),
      urls: Object.fromEntries([...this.#urls].map(([url, group]) => [url, group.finish()])),
      linesWithoutModel: this.#withoutModel.finish(),
      linesWithoutUrl: this.#withoutUrl.finish(),
      linesWithoutCustomId: this.#withoutCustomId.finish(),
      shards: this.#shards,
      hints: this.#sampler.hints(),
    };
  }
}

class GroupBuilder {
  readonly #lines: number[] = [];
  #count = 0;

  add(line: number): void {
    this.#count += 1;
    if (this.#lines.length < LIMITS.reportedErrors) this.#lines.push(line);
  }

  finish(): LineGroup {
    return { count: this.#count, lines: this.#lines };
  }
}
