#!/usr/bin/env node
import { runStackCommand, say } from './command.mjs';

const help = `npm run stack:up -- [--only kafka,postgres,s3] [--dir DIR]

Starts what is down of Apache Kafka, PostgreSQL and an S3 server on free loopback ports, and writes
DIR/env (variables for "batch-infer serve" and "batch-infer runner") and DIR/pids.json. The servers go on
when this command ends; "npm run stack:down" ends them. DIR is .stack unless given.

Servers of your own are used instead when these are set:
  KAFKA_BROKERS   host:port,…
  DATABASE_URL    postgres://…
  S3_ENDPOINT     with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and BATCH_INFER_BLOBS
Programs are taken from KAFKA_LIB_DIR (a folder of jars), JAVA_HOME, PG_BIN_DIR and VERSITYGW when set.
BATCH_INFER_STACK_CACHE moves the folder of downloaded jars and binaries (.stack/cache).`;

await runStackCommand(help, async ({ stack, layout, names }) => {
  const results = await stack.ensureUp(names);
  for (const { name, outcome, detail, durationMs } of results) {
    const seconds = outcome === 'started' ? ` (${(durationMs / 1000).toFixed(1)} s)` : '';
    // A failure's text names its part already.
    say(outcome === 'failed' ? detail : `${name.padEnd(9)} ${outcome} ${detail}${seconds}`);
  }
  if (Object.keys(stack.variables()).length > 0) say(`variables in ${layout.environmentFile}`);
  return results.every(({ outcome }) => outcome !== 'failed');
});
