/** The offer port. Its implementations stand in the subpaths `direct` and `kafka`. */
export * from './port.js';
