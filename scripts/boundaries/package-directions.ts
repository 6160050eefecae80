/** What the architecture allows one package. Everything points at the words: `contracts` imports nobody. */
export interface PackageDirection {
  folder: string;
  /** Workspace packages that its shipped sources may import. */
  mayImport: readonly string[];
  /** Of those, the ones that may only be loaded when they are needed (`await import(…)`). */
  onlyLazily?: readonly string[];
}

const contracts = '@batch-infer/contracts';
const transport = '@batch-infer/transport';
const sdk = '@batch-infer/sdk';
const controlPlane = '@batch-infer/control-plane';
const gpuRunner = '@batch-infer/gpu-runner';

export const testkit = '@batch-infer/testkit';

/** The architecture page's table, by package name. */
export const packageDirections: Readonly<Record<string, PackageDirection>> = {
  [contracts]: { folder: 'packages/contracts', mayImport: [] },
  [transport]: { folder: 'packages/transport', mayImport: [contracts] },
  [controlPlane]: { folder: 'packages/control-plane', mayImport: [contracts, transport] },
  [gpuRunner]: { folder: 'packages/gpu-runner', mayImport: [contracts, transport] },
  [sdk]: { folder: 'packages/sdk', mayImport: [contracts] },
  'batch-infer': {
    folder: 'packages/cli',
    mayImport: [sdk, contracts, transport, controlPlane, gpuRunner],
    onlyLazily: [transport, controlPlane, gpuRunner],
  },
  [testkit]: { folder: 'packages/testkit', mayImport: [contracts, transport] },
};
