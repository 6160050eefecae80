import { SetMetadata } from '@nestjs/common';

export const PUBLIC_ROUTE = 'batch-infer:public';

/** A route that needs no API key: health, metrics, the API's description. */
export const Public = (): MethodDecorator & ClassDecorator => SetMetadata(PUBLIC_ROUTE, true);
