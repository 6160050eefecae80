import { Inject, Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { originOf } from '../boot/bind-address.js';
import type { ControlPlaneConfig } from '../config.js';
import { CONFIG } from '../tokens.js';

/**
 * The origin of absolute links: as configured, else the address that is listened on. Never taken from `Host`: clients
 * send their key to whatever address a link names.
 */
@Injectable()
export class PublicUrl {
  readonly #config: Pick<ControlPlaneConfig, 'publicUrl' | 'host' | 'port'>;
  readonly #adapter: HttpAdapterHost;

  constructor(@Inject(CONFIG) config: ControlPlaneConfig, @Inject(HttpAdapterHost) adapter: HttpAdapterHost) {
    this.#config = config;
    this.#adapter = adapter;
  }

  /** Without a slash at its end. */
  get origin(): string {
    const { publicUrl, host, port } = this.#config;
    if (publicUrl !== null) return publicUrl;
    const address: unknown = this.#adapter.httpAdapter.getHttpServer().address();
    const bound = typeof address === 'object' && address !== null && 'port' in address ? address.port : port;
    return originOf(host, Number(bound));
  }
}
