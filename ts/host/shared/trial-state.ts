/** Below the state directory: the state of a version on trial, which must not touch that of the agent that serves. */
export const TRIAL_STATE = 'update/trial';
