// Brings a stack to the state that was asked for: what is down is started, what runs is left alone.
import { join } from 'node:path';
import { kafka } from './kafka.mjs';
import { PortTakenError } from './part.mjs';
import { chooseFreePort, isPortFree } from './ports.mjs';
import { postgres } from './postgres.mjs';
import { findProcesses, waitUntil } from './processes.mjs';
import { s3 } from './s3.mjs';
import { createFolders, loadState, PART_NAMES, saveState } from './state.mjs';

/** @typedef {import('./state.mjs').PartName} PartName */
/** @typedef {import('./state.mjs').PartState} PartState */

const parts = { kafka, postgres, s3 };
const START_ATTEMPTS = 3;
/** How long a server that runs but does not answer gets before it is started again. */
const ANSWER_TIMEOUT_MS = 10_000;
/** How long a part's old port may stay taken, by its dying predecessor, before it gets another. */
const PORT_TIMEOUT_MS = 3_000;

/**
 * @typedef {object} PartResult
 * @property {PartName} name
 * @property {'started' | 'running' | 'external' | 'failed'} outcome
 * @property {string} detail Where it serves, or in one line why it does not.
 * @property {number} durationMs
 */

/** A stack on disk. Its methods do not lock: `up` and `down` hold the lock around them. */
export class Stack {
  /** Ports promised to parts that do not listen yet. @type {Set<number>} */
  #promisedPorts = new Set();

  /**
   * @param {object} options
   * @param {import('./state.mjs').Layout} options.layout
   * @param {NodeJS.ProcessEnv} options.environment
   * @param {(message: string) => void} options.report
   * @param {number} [options.ownerPid]
   */
  constructor({ layout, environment, report, ownerPid }) {
    this.layout = layout;
    this.environment = environment;
    this.report = report;
    createFolders(layout);
    this.state = loadState(layout);
    if (ownerPid !== undefined) this.state.ownerPid = ownerPid;
  }

  /** What `serve` and `runner` need to know of the parts that are up. */
  variables() {
    /** @type {Record<string, string>} */
    const variables = {};
    for (const name of PART_NAMES) {
      const part = this.state.parts[name];
      if (part?.externalVariables) Object.assign(variables, part.externalVariables);
      else if (part?.pid) Object.assign(variables, parts[name].variables(part.ports, part.secrets));
    }
    return variables;
  }

  /**
   * Starts what is down of the named parts, all at once. Never throws for a part: see the results.
   * @param {readonly PartName[]} names
   * @returns {Promise<PartResult[]>}
   */
  async ensureUp(names) {
    await this.#forgetDead();
    return Promise.all(
      names.map(async (name) => {
        const startedAt = performance.now();
        const end = (/** @type {PartResult['outcome']} */ outcome, /** @type {string} */ detail) => ({
          name,
          outcome,
          detail,
          durationMs: performance.now() - startedAt,
        });
        try {
          const outcome = await this.#ensurePart(name);
          return end(outcome, this.#describe(name));
        } catch (error) {
          return end('failed', error instanceof Error ? error.message : String(error));
        }
      }),
    );
  }

  /**
   * Ends the named parts that are ours.
   * @param {readonly PartName[]} names
   * @returns {Promise<PartName[]>} Those that ran.
   */
  async bringDown(names) {
    const stopped = await Promise.all(
      names.map(async (name) => {
        const pids = await this.#findOurs(name);
        for (const pid of pids) await parts[name].stop(this.#context(name), pid);
        const part = this.state.parts[name];
        if (part) {
          part.pid = null;
          delete part.externalVariables;
        }
        return pids.length > 0 ? [name] : [];
      }),
    );
    this.#save();
    return stopped.flat();
  }

  /** Deletes the data of the named parts, which must be down. @param {readonly PartName[]} names */
  wipe(names) {
    for (const name of names) {
      parts[name].wipe(this.#context(name));
      delete this.state.parts[name];
    }
    this.#save();
  }

  /** @param {PartName} name @returns {Promise<'started' | 'running' | 'external'>} */
  async #ensurePart(name) {
    const part = parts[name];
    const externalVariables = await part.useExternal(this.environment);
    const previous = this.state.parts[name] ?? { pid: null, ports: {}, secrets: part.createSecrets() };
    const { externalVariables: _old, ...kept } = previous;
    if (externalVariables !== null) {
      this.#remember(name, { ...kept, externalVariables });
      return 'external';
    }
    this.#remember(name, kept);
    if (await this.#isServing(name, kept)) return 'running';
    await this.#start(name, kept);
    return 'started';
  }

  /**
   * Whether our server runs and answers where we expect it. One that does not is ended.
   * @param {PartName} name
   * @param {PartState} current
   */
  async #isServing(name, current) {
    const part = parts[name];
    const pids = await this.#findOurs(name);
    const [pid] = pids;
    if (pid === undefined) return false;
    const answers =
      pids.length === 1 &&
      part.portNames.every((portName) => current.ports[portName]) &&
      (await waitUntil(() => part.answers(current.ports, current.secrets), ANSWER_TIMEOUT_MS, 200));
    if (answers) {
      this.#remember(name, { ...current, pid });
      return true;
    }
    for (const other of pids) await part.stop(this.#context(name), other);
    return false;
  }

  /**
   * @param {PartName} name
   * @param {PartState} current
   */
  async #start(name, current) {
    const part = parts[name];
    const context = this.#context(name);
    // The generic of each part is closed over here: an installation goes only to the part it came from.
    const installation = /** @type {never} */ (await part.locate(context));
    let ports = await this.#keepPorts(name, current.ports);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const onSpawn = (/** @type {number} */ pid) => this.#remember(name, { ...current, ports, pid });
        const pid = await part.start(installation, { context, ports, secrets: current.secrets, onSpawn });
        this.#remember(name, { ...current, ports, pid });
        return;
      } catch (error) {
        const [leftOver] = await this.#findOurs(name);
        if (leftOver !== undefined) await part.stop(context, leftOver);
        this.#remember(name, { ...current, ports, pid: null });
        if (!(error instanceof PortTakenError) || attempt === START_ATTEMPTS) throw error;
        ports = await this.#choosePorts(part.portNames);
      }
    }
  }

  /**
   * The part's old ports as long as they are free, so that what reads `env` stays right.
   * @param {PartName} name
   * @param {Record<string, number>} oldPorts
   */
  async #keepPorts(name, oldPorts) {
    const { portNames } = parts[name];
    const numbers = portNames.map((portName) => oldPorts[portName] ?? 0);
    if (numbers.includes(0)) return this.#choosePorts(portNames);
    const allFree = async () => (await Promise.all(numbers.map(isPortFree))).every(Boolean);
    if (await waitUntil(allFree, PORT_TIMEOUT_MS)) return oldPorts;
    this.report(`${name.padEnd(9)} port ${numbers.join(' or ')} went to another process: taking a new one`);
    return this.#choosePorts(portNames);
  }

  /** @param {readonly string[]} portNames */
  async #choosePorts(portNames) {
    /** @type {Record<string, number>} */
    const ports = {};
    for (const portName of portNames) {
      const port = await chooseFreePort(this.#promisedPorts);
      this.#promisedPorts.add(port);
      ports[portName] = port;
    }
    return ports;
  }

  /** Pids of this stack's server, whether or not anybody wrote them down. @param {PartName} name */
  #findOurs(name) {
    const context = this.#context(name);
    return findProcesses((commandLine) => parts[name].isOurs(context, commandLine));
  }

  /** Pids of servers that have died since must not reach `env` and `pids.json`. */
  async #forgetDead() {
    for (const name of PART_NAMES) {
      const part = this.state.parts[name];
      if (!part?.pid) continue;
      const pids = await this.#findOurs(name);
      if (!pids.includes(part.pid)) part.pid = null;
    }
    this.#save();
  }

  /** @param {PartName} name @param {PartState} part */
  #remember(name, part) {
    this.state.parts[name] = part;
    for (const port of Object.values(part.ports)) this.#promisedPorts.add(port);
    this.#save();
  }

  #save() {
    saveState(this.layout, this.state, this.variables());
  }

  /** @param {PartName} name */
  #describe(name) {
    const part = this.state.parts[name];
    if (part?.externalVariables) return 'as the environment says';
    return `127.0.0.1:${part?.ports.client} pid ${part?.pid}`;
  }

  /** @param {PartName} name @returns {import('./part.mjs').PartContext} */
  #context(name) {
    return {
      dataDir: this.layout.dataDir(name),
      cacheDir: this.layout.cacheDir,
      logFile: join(this.layout.logDir, `${name}.log`),
      environment: this.environment,
      report: this.report,
    };
  }
}
