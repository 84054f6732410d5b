/** What is logged: fields first, where there are any, then a message that is the same each time. */
export interface LogMethod {
  (fields: object, message?: string): void;
  (message: string): void;
}

/** The agent's log, as far as commands and plugins write to it. */
export interface Log {
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  readonly fatal: LogMethod;
  /** A log whose every line has these fields too. */
  child(fields: Readonly<Record<string, unknown>>): Log;
}
