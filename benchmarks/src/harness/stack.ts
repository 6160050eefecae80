import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Engine, type EngineSettings } from './engine.ts';
import { Part } from './part.ts';
import type { Usage } from './process-usage.ts';

export interface StackSettings {
  /** `bin/batch-infer.js` of the build to measure. */
  readonly cli: string;
  /** Folder on a real disk: every result is synced to it. */
  readonly folder: string;
  readonly engine: EngineSettings;
  /** Requests in flight at the engine; `null` leaves it to the runner. */
  readonly window: number | null;
  /** Each has an engine of its own. Default 1. */
  readonly runners?: number;
  /** Variables of our own processes. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Folder for V8 CPU profiles of control plane and runner. */
  readonly profileFolder: string | null;
}

/** Usage of our own processes by name. */
export type UsageByPart = Readonly<Record<string, Usage>>;

/** Simulated engines, a control plane and runners, each a process, embedded profile, an empty data folder. */
export class Stack {
  readonly engines: readonly Engine[];
  readonly #settings: StackSettings;
  readonly #dataFolder: string;
  #controlPlane: Part | null = null;
  readonly #runners: Part[] = [];
  #serverUrl = '';

  private constructor(settings: StackSettings, engines: readonly Engine[]) {
    this.#settings = settings;
    this.engines = engines;
    mkdirSync(settings.folder, { recursive: true });
    this.#dataFolder = mkdtempSync(join(settings.folder, 'stack-'));
  }

  static async start(settings: StackSettings): Promise<Stack> {
    const { runners = 1, engine } = settings;
    const engines = Array.from({ length: Math.max(1, runners) }, () => Engine.start(engine));
    const stack = new Stack(settings, await Promise.all(engines));
    try {
      await stack.startControlPlane();
      for (let index = 0; index < runners; index += 1) await stack.startRunner();
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
  }

  /** The only engine, or the first. */
  get engine(): Engine {
    const [first] = this.engines;
    if (first === undefined) throw new Error('a stack has at least one engine');
    return first;
  }

  get serverUrl(): string {
    return this.#serverUrl;
  }

  /** A folder for inputs and outputs, gone with the stack. */
  get folder(): string {
    return this.#dataFolder;
  }

  async startControlPlane(): Promise<void> {
    // The second time on the same port: clients and runners find it again.
    const port = this.#serverUrl === '' ? '0' : new URL(this.#serverUrl).port;
    this.#controlPlane = await this.#start(
      'control plane',
      ['serve', '--data', join(this.#dataFolder, 'data'), '--port', port],
      /^batch-infer serve ready (http\S+)/,
    );
    this.#serverUrl = this.#controlPlane.readyMatch[1] ?? '';
  }

  /** Starts the next runner, at an engine that no runner is at. */
  async startRunner(): Promise<void> {
    const { window, runners = 1 } = this.#settings;
    const index = this.#runners.length;
    const engine = this.engines[index] ?? this.engine;
    const runner = await this.#start(
      runners > 1 ? `runner ${index + 1}` : 'runner',
      [
        ...['runner', '--server', this.#serverUrl, '--engine-url', engine.url],
        ...(window === null ? [] : ['--window', String(window)]),
      ],
      /^batch-infer runner ready/,
    );
    this.#runners.push(runner);
  }

  async killControlPlane(): Promise<void> {
    await this.#controlPlane?.kill();
    this.#controlPlane = null;
  }

  async killRunner(): Promise<void> {
    await this.#runners.pop()?.kill();
  }

  usage(): UsageByPart {
    const parts = [this.#controlPlane, ...this.#runners].filter((part) => part !== null);
    return Object.fromEntries(parts.map((part) => [part.name, part.usage()]));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#runners.map((runner) => runner.stop()));
    await this.#controlPlane?.stop();
    await Promise.all(this.engines.map((engine) => engine.stop()));
    rmSync(this.#dataFolder, { recursive: true, force: true });
  }

  #start(name: string, parameters: readonly string[], ready: RegExp): Promise<Part> {
    const { cli, profileFolder, environment = {} } = this.#settings;
    return Part.start({
      name,
      file: cli,
      parameters,
      ready,
      environment,
      nodeParameters:
        profileFolder === null
          ? []
          : [
              '--cpu-prof',
              `--cpu-prof-dir=${profileFolder}`,
              `--cpu-prof-name=${name.replace(' ', '-')}-${Date.now()}.cpuprofile`,
            ],
    });
  }
}

/** CPU seconds of all our processes between two readings. */
export function cpuSecondsBetween(before: UsageByPart, after: UsageByPart): number {
  return Object.entries(after).reduce(
    (sum, [name, usage]) => sum + usage.cpuSeconds - (before[name]?.cpuSeconds ?? 0),
    0,
  );
}
