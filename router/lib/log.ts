/**
 * Log lines: one event per line, `HH:MM:SS level component message k=v` for people and JSON for machines. The writer is
 * given by the edge (stderr in the daemon, a message port in its workers). Never called from the packet path.
 */
import { wallClockMs } from './clock.ts';

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type Level = (typeof LEVELS)[number];

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface LogLine {
  readonly level: Level;
  readonly component: string;
  readonly message: string;
  readonly fields: LogFields;
}

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log under another component's name. */
  for(component: string): Logger;
}

export type LogSink = (line: LogLine) => void;

/** A logger that passes lines of `level` and above to `sink`. */
export function makeLogger(sink: LogSink, component: string, level: Level = 'info'): Logger {
  const least = LEVELS.indexOf(level);
  const at =
    (l: Level) =>
    (message: string, fields: LogFields = {}): void => {
      if (LEVELS.indexOf(l) >= least) sink({ level: l, component, message, fields });
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    for: (other) => makeLogger(sink, other, level),
  };
}

export interface LogFormat {
  readonly json: boolean;
  /** Off under a journal, which stamps lines itself. */
  readonly time: boolean;
}

/** One line without its newline. */
export function formatLine(line: LogLine, format: LogFormat, nowMs: number = wallClockMs()): string {
  if (format.json) {
    const { level, component, message, fields } = line;
    return JSON.stringify({ time: new Date(nowMs).toISOString(), level, component, message, ...fields });
  }
  const time = format.time ? `${new Date(nowMs).toISOString().slice(11, 19)} ` : '';
  const fields = Object.entries(line.fields)
    .filter(([, v]) => v !== undefined)
    .map(([k, v]) => ` ${k}=${fieldText(v!)}`)
    .join('');
  return `${time}${line.level} ${line.component} ${line.message.replaceAll('\n', '\\n')}${fields}`;
}

function fieldText(v: string | number | boolean): string {
  const text = String(v);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}
