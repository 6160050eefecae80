// Apache Kafka's jars, by Maven, into a folder keyed by their versions.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MissingPartError } from './part.mjs';
import { run } from './processes.mjs';

const KAFKA_VERSION = '4.3.1';
const SLF4J_VERSION = '1.7.36';
const HOW_TO =
  'install Maven and a JDK >= 17 (Debian: apt-get install -y maven), or set KAFKA_BROKERS or KAFKA_LIB_DIR';

const project = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>batch-infer</groupId>
  <artifactId>stack-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>${SLF4J_VERSION}</version></dependency>
  </dependencies>
</project>
`;

/**
 * The folder with the jars; fetched once per cache.
 * @param {import('./part.mjs').PartContext} context
 * @returns {Promise<string>}
 */
export async function locateKafkaJars({ cacheDir, environment, report }) {
  if (environment.KAFKA_LIB_DIR) {
    if (existsSync(environment.KAFKA_LIB_DIR)) return environment.KAFKA_LIB_DIR;
    throw new MissingPartError(`kafka: KAFKA_LIB_DIR=${environment.KAFKA_LIB_DIR} does not exist`);
  }
  const home = join(cacheDir, `kafka-${KAFKA_VERSION}-slf4j-${SLF4J_VERSION}`);
  const isComplete = () => existsSync(join(home, 'complete'));
  if (!isComplete()) {
    report(`kafka     fetching Apache Kafka ${KAFKA_VERSION} by Maven (44 MB, once) …`);
    const draft = mkdtempSync(join(cacheDir, 'kafka-draft-'));
    try {
      await copyDependencies(draft);
      writeFileSync(join(draft, 'complete'), `${new Date().toISOString()}\n`);
      // A temporary folder is its maker's alone; the cache may be shared.
      chmodSync(draft, 0o755);
      if (existsSync(home) && !isComplete()) rmSync(home, { recursive: true });
      renameSync(draft, home);
    } catch (error) {
      // Another stack of this checkout may have put the same jars there first.
      if (!isComplete()) throw error;
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  return join(home, 'lib');
}

/** @param {string} folder */
async function copyDependencies(folder) {
  writeFileSync(join(folder, 'pom.xml'), project);
  mkdirSync(join(folder, 'lib'));
  const argumentList = ['-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=lib'];
  const online = await run('mvn', argumentList, { cwd: folder });
  if (online.code === 0) return;
  if (online.missing) throw new MissingPartError(`kafka: Maven (mvn) is missing: ${HOW_TO}`);
  const offline = await run('mvn', ['-o', ...argumentList], { cwd: folder });
  if (offline.code === 0) return;
  const text = online.stdout + online.stderr;
  const [errorLine = `mvn ended with ${online.code}`] = text
    .split('\n')
    .filter((line) => line.includes('ERROR'));
  // Maven's words for "no network" name a plugin, not the network.
  const reason = /No plugin found for prefix|Unknown host|Connect(ion)? (refused|timed out)/i.test(text)
    ? 'Maven cannot reach its repository and has no copy of its own'
    : errorLine.replaceAll('\u001b[m', '').slice(0, 300);
  throw new MissingPartError(`kafka: ${reason}: ${HOW_TO}`);
}
