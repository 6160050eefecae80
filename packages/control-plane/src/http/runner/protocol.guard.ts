import { PROTOCOL_HEADER, PROTOCOL_VERSION } from '@batch-infer/contracts/runner-protocol';
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';

/** Refuses runners that speak another version of the protocol than we do, naming both. */
@Injectable()
export class ProtocolGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const spoken = context.switchToHttp().getRequest<FastifyRequest>().headers[PROTOCOL_HEADER];
    if (spoken === String(PROTOCOL_VERSION)) return true;
    const theirs =
      typeof spoken === 'string' && /^\d{1,9}$/.test(spoken) ? `version ${spoken}` : 'no version';
    throw new DomainError(
      'protocol_mismatch',
      `The runner names ${theirs} of the runner protocol in ${PROTOCOL_HEADER}, this control plane speaks version ${PROTOCOL_VERSION}: run both from the same release.`,
      { param: PROTOCOL_HEADER },
    );
  }
}
