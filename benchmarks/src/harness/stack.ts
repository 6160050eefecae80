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
  /** Default true. */
  readonly withRunner?: boolean;
  /** Folder for V8 CPU profiles of control plane and runner. */
  readonly profileFolder: string | null;
}

/** Usage of our own processes by name. */
export type UsageByPart = Readonly<Record<string, Usage>>;

/** Simulated engine, control plane and runner, each a process, embedded profile, an empty data folder. */
export class Stack {
  readonly engine: Engine;
  readonly #settings: StackSettings;
  readonly #dataFolder: string;
  #controlPlane: Part | null = null;
  #runner: Part | null = null;
  #serverUrl = '';

  private constructor(settings: StackSettings, engine: Engine) {
    this.#settings = settings;
    this.engine = engine;
    mkdirSync(settings.folder, { recursive: true });
    this.#dataFolder = mkdtempSync(join(settings.folder, 'stack-'));
  }

  static async start(settings: StackSettings): Promise<Stack> {
    const stack = new Stack(settings, await Engine.start(settings.engine));
    try {
      await stack.startControlPlane();
      if (settings.withRunner ?? true) await stack.startRunner();
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
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

  async startRunner(): Promise<void> {
    const { window } = this.#settings;
    this.#runner = await this.#start(
      'runner',
      [
        ...['runner', '--server', this.#serverUrl, '--engine-url', this.engine.url],
        ...(window === null ? [] : ['--window', String(window)]),
      ],
      /^batch-infer runner ready/,
    );
  }

  async killControlPlane(): Promise<void> {
    await this.#controlPlane?.kill();
    this.#controlPlane = null;
  }

  async killRunner(): Promise<void> {
    await this.#runner?.kill();
    this.#runner = null;
  }

  usage(): UsageByPart {
    const parts = [this.#controlPlane, this.#runner].filter((part) => part !== null);
    return Object.fromEntries(parts.map((part) => [part.name, part.usage()]));
  }

  async stop(): Promise<void> {
    await this.#runner?.stop();
    await this.#controlPlane?.stop();
    await this.engine.stop();
    rmSync(this.#dataFolder, { recursive: true, force: true });
  }

  #start(name: string, parameters: readonly string[], ready: RegExp): Promise<Part> {
    const { cli, profileFolder } = this.#settings;
    return Part.start({
      name,
      file: cli,
      parameters,
      ready,
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
