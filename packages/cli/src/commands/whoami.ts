import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'whoami',
  description: 'Show the project and the scopes of the API key in use.',
  options: [{ flag: 'json', description: 'as the API gives it' }, ...CLIENT_OPTIONS],
  run,
};

async function run({ settings, io, interrupts }: CommandContext): Promise<number> {
  const client = await connect(settings);
  const caller = await client.whoami({ signal: interrupts.signal });
  if (settings.switch('json')) await io.writeOut(jsonLine(toWireJson(caller)));
  else {
    const key = caller.keyId ?? 'no key (the server asks for none)';
    await io.writeOut(`${key}\n  project  ${caller.projectId}\n  scopes   ${caller.scopes.join(', ')}\n`);
  }
  return EXIT.ok;
}
