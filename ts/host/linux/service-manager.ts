import { notify } from '#binding';

/** Tells systemd about the service, as sd_notify(3) does. False when nobody listens: that is no reason to stop. */
export function notifyServiceManager(state: string): boolean {
  try {
    return notify(state);
  } catch {
    return false;
  }
}
