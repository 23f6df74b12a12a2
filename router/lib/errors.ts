/**
 * The registry of errors a user can see: code, errno an app gets, exit status, hint. One table, so that every error has
 * all four. Cores return values; only edges and the configuration throw.
 */

export interface ErrorSpec {
  /** errno an application sees, where one applies. */
  readonly errno: string | undefined;
  /** Exit status of the command that reports it (UX: 1 negative answer, 2 usage, 3 daemon unreachable, 4 timeout, 78 configuration). */
  readonly exit: number;
  /** What the user can do; `{name}` is replaced from the error's details. */
  readonly hint: string;
}

export const ERRORS = {
  NO_ROUTE: {
    errno: 'ENETUNREACH',
    exit: 1,
    hint: 'mlshim route get {dst} shows the rules and tables that were searched',
  },
  CONFIG_INVALID: {
    errno: undefined,
    exit: 78,
    hint: 'every problem is listed above with its line; nothing was started',
  },
  CONFIG_UNREADABLE: { errno: undefined, exit: 78, hint: 'check the path given with -c or in MLSHIM_CONFIG' },
  USAGE: { errno: undefined, exit: 2, hint: 'mlshim --help lists the commands, mlshim COMMAND --help tells more' },
  UNKNOWN: { errno: undefined, exit: 2, hint: 'mlshim status lists what there is, mlshim bgp the peers' },
  NOT_NOW: { errno: undefined, exit: 1, hint: 'mlshim bgp peer PEER shows the state of the session' },
  NOT_WRITTEN: { errno: undefined, exit: 1, hint: 'make room, or write elsewhere; nothing was changed in the router' },
  DAEMON_UNREACHABLE: { errno: undefined, exit: 3, hint: 'start it with: mlshim up -c FILE' },
  DAEMON_RUNNING: { errno: undefined, exit: 1, hint: 'mlshim down stops it, or choose another one with MLSHIM_SOCKET' },
  BACKEND_UNAVAILABLE: {
    errno: undefined,
    exit: 1,
    hint: 'mlshim doctor lists what this host has and lacks; "backend" says who carries the uplinks (docs/uplinks.md)',
  },
  BPF_REFUSED: {
    errno: undefined,
    exit: 1,
    hint: 'mlshim doctor lists what this kernel has; the user-space backend needs none of it',
  },
  POLICY_TOO_LARGE: {
    errno: undefined,
    exit: 1,
    hint: 'use fewer different apps, users, cgroups and sources in rules, or the user-space backend',
  },
  RELOAD_REFUSED: {
    errno: undefined,
    exit: 1,
    hint: 'mlshim config diff shows every change; mlshim down, then mlshim up starts with all of them',
  },
  TIMEOUT: { errno: 'ETIMEDOUT', exit: 4, hint: 'mlshim status shows what is not up yet' },
  CHILD_FAILED: {
    errno: undefined,
    exit: 1,
    hint: 'npm run build builds the WireGuard child; MLSHIM_WG_BIN overrides its path',
  },
  ADDON_MISSING: {
    errno: undefined,
    exit: 1,
    hint: 'npm run build builds the native addon; it prints which package is missing',
  },
  NO_TCP_MD5: {
    errno: undefined,
    exit: 1,
    hint: 'the kernel needs CONFIG_TCP_MD5SIG; peers behind an uplink ("via") need no kernel, their TCP is our own',
  },
  HOST_OVERLAP: {
    errno: undefined,
    exit: 78,
    hint: 'each uplink needs an interface, address and table of its own; ip link, ip addr and ip route show table {table} say whose they are',
  },
  HOST_MISSING: {
    errno: undefined,
    exit: 78,
    hint: 'ip link lists the interfaces of this host, ip addr their addresses',
  },
  NO_VRF: {
    errno: undefined,
    exit: 1,
    hint: 'write "isolation: device", which needs no VRF devices, or use a kernel with CONFIG_NET_VRF',
  },
  NOT_PRIVILEGED: {
    errno: undefined,
    exit: 1,
    hint: 'start it as root or with CAP_NET_ADMIN, or write "backend: userspace"',
  },
  HOST_REFUSED: { errno: undefined, exit: 1, hint: 'what was changed before has been taken back; dmesg may say more' },
  ROUTING_RESTARTED: {
    errno: undefined,
    exit: 1,
    hint: 'ask again: another routing worker answers now; the log shows why the one before ended',
  },
  INTERNAL: { errno: undefined, exit: 1, hint: 'please report this with the output of mlshim status --json' },
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

/** An error of ours with a registered code; a peer's mistake is a value, never one of these. */
export class MlshimError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.name = 'MlshimError';
    this.code = code;
    this.details = details;
  }

  get exit(): number {
    return ERRORS[this.code].exit;
  }

  get hint(): string {
    return ERRORS[this.code].hint.replace(/\{(\w+)\}/g, (_, key: string) => String(this.details[key] ?? key));
  }
}
