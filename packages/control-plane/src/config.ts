/** Settings of a control plane, after flags, environment and files are merged. Times in milliseconds. */
export interface ControlPlaneConfig {
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Origin that clients reach us under; absolute links are built from it, never from `Host`. `null`: the bound address. */
  readonly publicUrl: string | null;
  readonly roles: readonly ('api' | 'dispatcher' | 'sweeper')[];
  /** Folder of the embedded ledger and blobs. */
  readonly dataDir: string;
  /** `null`: SQLite in the data folder. */
  readonly databaseUrl: string | null;
  /** `null`: a folder in the data folder; else `s3://bucket/prefix`. */
  readonly blobsUrl: string | null;
  readonly s3Endpoint: string | null;
  /** Empty: offers travel directly. */
  readonly kafkaBrokers: readonly string[];
  readonly apiKeysFile: string | null;
  readonly leaseMs: number;
  readonly renewIntervalMs: number;
  /** A runner whose session broke is taken for dead after this. */
  readonly sessionGraceMs: number;
  /** How long an offer that nobody claimed stands before it is offered again. */
  readonly offerTtlMs: number;
  readonly sweepIntervalMs: number;
  /** How long a stopped job waits for its runners' last settles. */
  readonly stopGraceMs: number;
  readonly logLevel: string;
}
