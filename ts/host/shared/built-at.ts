/** Seconds since 1970, written into the bundle by packaging/bundle.js; not there in what was not bundled. */
declare const GUESTWIRE_BUILT_AT: number | undefined;

/** When this agent was built, or what it was built of: milliseconds since 1970; 0 when nobody knows. */
export const BUILT_AT = typeof GUESTWIRE_BUILT_AT === 'number' ? GUESTWIRE_BUILT_AT * 1000 : 0;
