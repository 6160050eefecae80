#!/usr/bin/env node
import { runStackCommand, say } from './command.mjs';

const help = `npm run stack:down -- [--only kafka,postgres,s3] [--dir DIR] [--wipe]

Ends the servers that stack:up started. --wipe also deletes their data; downloaded jars and binaries stay.`;

await runStackCommand(help, async ({ stack, names, wipe }) => {
  const stopped = await stack.bringDown(names);
  say(stopped.length > 0 ? `stopped ${stopped.join(', ')}` : 'nothing was running');
  if (wipe) {
    stack.wipe(names);
    say(`deleted the data of ${names.join(', ')}`);
  }
  return true;
});
