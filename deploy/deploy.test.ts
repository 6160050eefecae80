import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';

const deployDir = dirname(fileURLToPath(import.meta.url));
const repositoryDir = dirname(deployDir);
const baseDir = join(deployDir, 'kubernetes/base');
const overlaysDir = join(deployDir, 'kubernetes/overlays');
const ownServices = ['api', 'dispatcher', 'runner'] as const;

interface ComposeService {
  image: string;
  build?: { context: string; dockerfile: string };
  user?: string;
  read_only?: boolean;
  cap_drop?: string[];
  environment?: Record<string, string>;
  healthcheck?: unknown;
  depends_on?: Record<string, { condition: string }>;
}
interface Compose {
  services: Record<string, ComposeService>;
}
interface Kustomization {
  resources: string[];
  configMapGenerator?: Generator[];
  secretGenerator?: Generator[];
}
interface Generator {
  name: string;
  envs?: string[];
  literals?: string[];
}
interface Probe {
  httpGet: { path: string; port: string };
}
interface Container {
  name: string;
  image: string;
  args: string[];
  envFrom: { configMapRef?: { name: string }; secretRef?: { name: string } }[];
  ports: { name: string; containerPort: number }[];
  startupProbe: Probe;
  livenessProbe: Probe;
  readinessProbe: Probe;
  resources: { requests: Record<string, string>; limits: Record<string, string> };
  securityContext: {
    readOnlyRootFilesystem: boolean;
    allowPrivilegeEscalation: boolean;
    capabilities: { drop: string[] };
  };
}
interface Labels {
  [name: string]: string;
}
interface Deployment {
  kind: 'Deployment';
  metadata: { name: string };
  spec: {
    selector: { matchLabels: Labels };
    template: {
      metadata: { labels: Labels };
      spec: {
        securityContext: { runAsNonRoot: boolean; runAsUser: number };
        volumes: { name: string; secret?: { secretName: string } }[];
        containers: Container[];
      };
    };
  };
}
interface Service {
  kind: 'Service';
  metadata: { name: string };
  spec: { selector: Labels; ports: { port: number; targetPort: string }[] };
}
interface DisruptionBudget {
  kind: 'PodDisruptionBudget';
  spec: { selector: { matchLabels: Labels } };
}
type Resource = Deployment | Service | DisruptionBudget | { kind: 'Other' };

const filesBelow = (folder: string, pattern: RegExp): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => join(folder, name));
const read = (...path: string[]): string => readFileSync(join(...path), 'utf8');
const documents = (file: string) => parseAllDocuments(read(file), { merge: true });
const parse = <Shape>(file: string): Shape => documents(file)[0]?.toJS();

const compose = parse<Compose>(join(deployDir, 'compose.yaml'));
const base = parse<Kustomization>(join(baseDir, 'kustomization.yaml'));
const overlays = readdirSync(overlaysDir).map((name) => ({
  name,
  folder: join(overlaysDir, name),
  kustomization: parse<Kustomization>(join(overlaysDir, name, 'kustomization.yaml')),
}));
const resources = base.resources.flatMap((name) =>
  documents(join(baseDir, name)).map((document): Resource => document.toJS()),
);
const deployments = resources.filter((resource) => resource.kind === 'Deployment');
const dockerfiles = filesBelow(join(deployDir, 'docker'), /\.Dockerfile$/);

/** The names that the programs read, from the one place where each of them reads its environment. */
const knownVariables = new Set(
  ['control-plane', 'gpu-runner'].flatMap(
    (name) =>
      read(repositoryDir, `packages/${name}/src/config.ts`).match(/\bBATCH_INFER_[A-Z0-9_]+\b/g) ?? [],
  ),
);
const literal = (line: string): [string, string] => {
  const [name = '', ...value] = line.split('=');
  return [name, value.join('=')];
};
const settingsFile = (name: string): Record<string, string> =>
  Object.fromEntries(read(baseDir, name).trim().split('\n').map(literal));
const allSettings: Record<string, Record<string, string>> = {
  'control-plane-settings': settingsFile('control-plane.env'),
  'runner-settings': settingsFile('runner.env'),
};

describe('every YAML file', () => {
  it.each(filesBelow(deployDir, /\.ya?ml$/).map((file) => relative(deployDir, file)))('%s parses', (name) => {
    for (const document of documents(join(deployDir, name))) {
      expect([...document.errors, ...document.warnings]).toEqual([]);
    }
  });
});

describe('names and ports', () => {
  it('sets only variables that the programs read', () => {
    const texts = filesBelow(deployDir, /\.(ya?ml|env|example|Dockerfile)$/).map((file) => read(file));
    const used = new Set(texts.flatMap((text) => text.match(/\bBATCH_INFER_[A-Z0-9_]+\b/g) ?? []));
    expect(used.size).toBeGreaterThan(10);
    expect([...used].filter((name) => !knownVariables.has(name))).toEqual([]);
  });

  it('pins every image to a version', () => {
    for (const { image } of Object.values(compose.services)) expect(image).toMatch(/:(local|v?\d[\w.]*)$/);
  });

  it('gives runners no database or bucket credentials', () => {
    const forbidden = /DATABASE_URL|BLOBS|S3_|AWS_|API_KEYS_FILE|control-plane/;
    const runner = deployments.find(({ metadata }) => metadata.name === 'batch-infer-runner');
    expect(
      Object.keys(compose.services.runner?.environment ?? {}).filter((name) => forbidden.test(name)),
    ).toEqual([]);
    expect(JSON.stringify(runner?.spec.template)).not.toMatch(forbidden);
    expect(Object.keys(allSettings['runner-settings'] ?? {}).filter((name) => forbidden.test(name))).toEqual(
      [],
    );
  });

  it('runs every role of the control plane somewhere, in both', () => {
    const roles = ['api', 'dispatcher', 'sweeper'];
    const inCompose = Object.values(compose.services).map(
      ({ environment }) => environment?.BATCH_INFER_ROLES ?? '',
    );
    const inCluster = deployments.map(({ spec }) => {
      const { args = [] } = spec.template.spec.containers[0] ?? {};
      return args[args.indexOf('--roles') + 1] ?? '';
    });
    for (const found of [inCompose, inCluster]) {
      expect(found.join(',').split(',')).toEqual(expect.arrayContaining(roles));
    }
  });
});

describe('compose.yaml', () => {
  it.each(ownServices)('builds %s from a Dockerfile that exists, and runs it without rights', (name) => {
    const service = compose.services[name];
    const { context = '', dockerfile = '' } = service?.build ?? {};
    expect(existsSync(join(deployDir, context, dockerfile))).toBe(true);
    expect(service).toMatchObject({ user: '1000:1000', read_only: true, cap_drop: ['ALL'] });
  });

  it('waits only for services that can say that they are healthy', () => {
    for (const service of Object.values(compose.services)) {
      for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
        const { healthcheck, build } = compose.services[name] ?? {};
        const dockerfile = build === undefined ? '' : read(deployDir, build.context, build.dockerfile);
        expect(condition).toBe('service_healthy');
        expect(healthcheck !== undefined || dockerfile.includes('HEALTHCHECK'), name).toBe(true);
      }
    }
  });

  it('points each service to another by a name and a port that exist', () => {
    const listening = { kafka: 9092, postgres: 5432, s3: 7070, api: 8080, vllm: 8000 };
    const values = ownServices.flatMap((name) => Object.values(compose.services[name]?.environment ?? {}));
    const links = values.flatMap((value) => [...value.matchAll(/(kafka|postgres|s3|api|vllm):(\d+)/g)]);
    const found = Object.fromEntries(links.map(([, name, port]) => [name, Number(port)]));
    expect(found).toEqual(listening);
    for (const name of Object.keys(found)) expect(compose.services).toHaveProperty(name);
  });

  it('asks for no variable without a default that .env.example does not name', () => {
    const required = [...read(deployDir, 'compose.yaml').matchAll(/\$\{([A-Z0-9_]+):\?/g)].map(
      ([, name]) => name,
    );
    const offered = read(deployDir, '.env.example');
    expect(required.length).toBeGreaterThan(0);
    for (const name of required) expect(offered).toMatch(new RegExp(`^${name}=`, 'm'));
  });
});

describe('Kubernetes', () => {
  it('lists only files that exist', () => {
    for (const { folder, kustomization } of [{ folder: baseDir, kustomization: base }, ...overlays]) {
      const generators = [
        ...(kustomization.configMapGenerator ?? []),
        ...(kustomization.secretGenerator ?? []),
      ];
      const files = [...kustomization.resources, ...generators.flatMap(({ envs = [] }) => envs)];
      expect(files.filter((name) => !existsSync(join(folder, name)))).toEqual([]);
    }
    const listed = [...base.resources, 'kustomization.yaml'].sort();
    expect(
      filesBelow(baseDir, /\.yaml$/)
        .map((file) => relative(baseDir, file))
        .sort(),
    ).toEqual(listed);
  });

  it.each(overlays)(
    'has every setting and secret that a Deployment refers to in overlay $name',
    ({ kustomization }) => {
      const generated = [base, kustomization].flatMap(({ configMapGenerator = [], secretGenerator = [] }) =>
        [...configMapGenerator, ...secretGenerator].map(({ name }) => name),
      );
      const wanted = deployments.flatMap(({ spec }) => [
        ...spec.template.spec.containers.flatMap(({ envFrom }) =>
          envFrom.map(({ configMapRef, secretRef }) => (configMapRef ?? secretRef)?.name),
        ),
        ...spec.template.spec.volumes.flatMap(({ secret }) => (secret ? [secret.secretName] : [])),
      ]);
      expect(wanted.filter((name) => name === undefined || !generated.includes(name))).toEqual([]);
    },
  );

  it.each(overlays)('holds placeholders instead of secrets in overlay $name', ({ kustomization }) => {
    const secrets = (kustomization.secretGenerator ?? []).flatMap(({ literals = [] }) => literals);
    expect(secrets.length).toBeGreaterThan(0);
    for (const secret of secrets) expect(secret).toContain('REPLACE_ME');
  });

  it.each(deployments.map((deployment) => [deployment.metadata.name, deployment] as const))(
    '%s runs as nobody in particular on a read-only root',
    (_name, { spec }) => {
      const { securityContext, containers } = spec.template.spec;
      expect(securityContext.runAsNonRoot).toBe(true);
      expect(securityContext.runAsUser).toBeGreaterThan(0);
      for (const container of containers) {
        expect(container.securityContext).toMatchObject({
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
        });
        expect(Object.keys(container.resources.requests)).toEqual(['cpu', 'memory']);
        expect(Object.keys(container.resources.limits)).toEqual(['memory']);
      }
    },
  );

  it.each(deployments.map((deployment) => [deployment.metadata.name, deployment] as const))(
    '%s is probed on the port that its settings name',
    (_name, { spec }) => {
      for (const container of spec.template.spec.containers) {
        const { startupProbe, livenessProbe, readinessProbe, ports, envFrom } = container;
        expect(startupProbe.httpGet.path).toBe('/healthz');
        expect(livenessProbe.httpGet.path).toBe('/healthz');
        expect(readinessProbe.httpGet.path).toBe('/readyz');
        const settings = Object.assign(
          {},
          ...envFrom.map((source) => allSettings[source.configMapRef?.name ?? '']),
        );
        const expected = Number(settings.BATCH_INFER_METRICS_PORT ?? settings.BATCH_INFER_PORT);
        for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
          expect(ports.find(({ name }) => name === probe.httpGet.port)?.containerPort).toBe(expected);
        }
      }
    },
  );

  it('selects running pods with every Deployment, Service and budget', () => {
    const podLabels = deployments.map(({ spec }) => spec.template.metadata.labels);
    const selectors = resources.flatMap((resource) => {
      if (resource.kind === 'Service') return [resource.spec.selector];
      if (resource.kind === 'Deployment' || resource.kind === 'PodDisruptionBudget') {
        return [resource.spec.selector.matchLabels];
      }
      return [];
    });
    expect(selectors).toHaveLength(7);
    for (const selector of selectors) expect(podLabels).toContainEqual(expect.objectContaining(selector));
    expect(resources.filter(({ kind }) => kind === 'PodDisruptionBudget')).toHaveLength(deployments.length);
  });

  it('offers the API under the name that runners use', () => {
    const service = resources.find((resource) => resource.kind === 'Service');
    expect(allSettings['runner-settings']?.BATCH_INFER_SERVER).toBe(`http://${service?.metadata.name}`);
    expect(service?.spec.ports).toEqual([{ name: 'http', port: 80, targetPort: 'http' }]);
  });
});

describe('Dockerfiles', () => {
  const lastStage = (text: string) => text.slice(text.lastIndexOf('\nFROM '));

  it.each(dockerfiles.map((file) => relative(deployDir, file)))(
    '%s ends as a number that is not root',
    (name) => {
      const stage = lastStage(read(deployDir, name));
      expect(stage.match(/^USER (.+)$/gm)).toEqual(['USER 1000:1000']);
      expect(stage).toMatch(
        /^ENTRYPOINT \["node", "\/app\/node_modules\/batch-infer\/bin\/batch-infer\.js"\]$/m,
      );
      expect(stage).toMatch(/^CMD \["(serve|runner)"\]$/m);
      expect(existsSync(join(deployDir, `${name}.dockerignore`))).toBe(true);
    },
  );

  it.each(dockerfiles.map((file) => relative(deployDir, file)))(
    '%s packs the command and all it needs',
    (name) => {
      const packed = [...read(deployDir, name).matchAll(/--workspace (\S+)/g)].map(
        ([, folder = '']) => folder,
      );
      const manifests = packed.map((folder) => JSON.parse(read(repositoryDir, folder, 'package.json')));
      const names = new Set(manifests.map((manifest) => manifest.name));
      const needed = manifests.flatMap((manifest) => Object.keys(manifest.dependencies ?? {}));
      expect(names).toContain('batch-infer');
      expect(needed.filter((other) => other.startsWith('@batch-infer/') && !names.has(other))).toEqual([]);
    },
  );
});
