/**
 * Injection tokens of the ports. `CoreModule` (global) provides them; everything else is injected by its class.
 * Always `@Inject(TOKEN)`: without decorator metadata a type alone injects nothing.
 */
export const LEDGER = Symbol('Ledger');
export const BLOBS = Symbol('Blobs');
export const CLOCK = Symbol('Clock');
export const SIGNALS = Symbol('Signals');
export const CONFIG = Symbol('ControlPlaneConfig');
/** The file of API keys; `null` where none is configured. */
export const KEY_FILE = Symbol('ApiKeyFile');
export const LOGGER = Symbol('Logger');
export const OFFER_PUBLISHER = Symbol('OfferPublisher');
