/**
 * The reply side of BIRD's control protocol: every line carries a four-digit code; a line with the code of the one before
 * shows a blank instead. A code followed by `-` promises more, one followed by a blank ends the reply.
 */

/** Codes of BIRD's replies: 0xxx success, 1xxx a table's line, 2xxx a heading, 8xxx refusal, 9xxx mistake. */
export const Code = {
  Ok: 0,
  Welcome: 1,
  ReadingConfig: 2,
  Reconfigured: 3,
  AlreadyDisabled: 8,
  Disabled: 9,
  AlreadyEnabled: 10,
  Enabled: 11,
  Restarted: 12,
  DaemonUp: 13,
  RouteTotals: 14,
  Reloading: 15,
  AccessRestricted: 16,
  Confirmed: 18,
  NothingToDo: 19,
  ConfigOk: 20,
  UndoRequested: 21,
  UndoScheduled: 22,
  Version: 1000,
  Protocol: 1002,
  ProtocolDetails: 1006,
  Route: 1007,
  RouteDetails: 1008,
  Symbol: 1010,
  Uptime: 1011,
  Attributes: 1012,
  Memory: 1018,
  ProtocolHeading: 2002,
  NetworkNotFound: 8001,
  ConfigFailed: 8002,
  NoProtocol: 8003,
  AccessDenied: 8007,
  Mistake: 9001,
} as const;

/** One line of a reply without its code. */
export type Line = readonly [code: number, text: string];

/** Puts codes in front of the lines of one reply, which may come in parts. */
export class ReplyText {
  #last: number;

  /** @param last the code the part before ended with; 0 at the beginning */
  constructor(last = 0) {
    this.#last = last;
  }

  get last(): number {
    return this.#last;
  }

  /** The text of lines that are not the last of the reply. */
  part(lines: readonly Line[]): string {
    let out = '';
    for (const [code, text] of lines) {
      out += code === this.#last ? ` ${text}\n` : `${four(code)}-${text}\n`;
      this.#last = code;
    }
    return out;
  }

  /** The text of the line that ends the reply. */
  end([code, text]: Line): string {
    return `${four(code)} ${text}\n`;
  }
}

function four(code: number): string {
  return String(code).padStart(4, '0');
}
