import type { Interrupts } from './interrupts.js';
import type { Io } from './io.js';
import type { OptionSpec } from './settings/options.js';
import type { Layer, Settings } from './settings/settings.js';

/** What a command is given when it runs. */
export interface CommandContext {
  readonly operands: readonly string[];
  readonly settings: Settings;
  readonly io: Io;
  readonly interrupts: Interrupts;
  /** The configuration files, for `config show`. */
  readonly layers: readonly Layer[];
}

/** A command, as its file exports it. */
export interface CommandDefinition {
  readonly name: string;
  /** Operands as commander spells them: `<id>`, `[id]`, `<id...>`. */
  readonly operands?: readonly { readonly name: string; readonly description: string }[];
  readonly description: string;
  readonly options: readonly OptionSpec[];
  /** True for commands that only look at the configuration files: they run beside a file that is not trusted. */
  readonly readsUntrusted?: boolean;
  /** Printed below the options. */
  readonly examples?: readonly string[];
  /** Resolves to the exit code. */
  run(context: CommandContext): Promise<number>;
}
