/**
 * The one command table: words, arguments, options and what runs. Help is made from it. Code behind a command is loaded
 * when the command runs, so that `status` never pays for the configuration's libraries.
 */
import type { Command, Input, Option } from './command.ts';

const JSON_OPTION: Readonly<Record<string, Option>> = {
  json: { type: 'boolean', short: 'j', help: 'one JSON document instead of text' },
};

const VRF_OPTION: Readonly<Record<string, Option>> = {
  vrf: { type: 'string', value: 'NAME', help: 'the table of this VRF' },
};

const CONFIG_OPTION: Readonly<Record<string, Option>> = {
  config: { type: 'string', short: 'c', value: 'FILE', help: 'mlshim.yaml, or a wg-quick file' },
};

const DAEMON_OPTIONS: Readonly<Record<string, Option>> = {
  ...CONFIG_OPTION,
  loopback: { type: 'string', value: 'kernel|stack', help: 'where 127.0.0.0/8 and ::1 live (stack: for test suites)' },
  'log-level': { type: 'string', value: 'LEVEL', help: 'debug, info, warn or error; also MLSHIM_LOG' },
  'log-format': { type: 'string', value: 'text|json', help: 'default: text on a terminal, else json' },
};

const ask = async () => await import('./ask.ts');
const keys = async () => await import('./wg-keys.ts');

export const COMMANDS: readonly Command[] = [
  {
    words: ['run'],
    args: '-- APP ARGS...',
    summary: 'run an application on the uplinks, with a private router unless one serves already',
    options: {
      ...DAEMON_OPTIONS,
      'routing-daemon': { type: 'boolean', help: 'let it believe that it fills kernel tables (FRR: zebra)' },
    },
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    run: async (input) => (await import('./run.ts')).run(input),
  },
  {
    words: ['up'],
    args: '',
    summary: 'start the router in the background',
    options: {
      ...DAEMON_OPTIONS,
      wait: { type: 'string', bare: '30s', value: '30s', help: 'until every uplink is up' },
      foreground: { type: 'boolean', short: 'f', help: 'stay in the foreground, log to stderr' },
      log: { type: 'string', value: 'FILE', help: "log file (default: beside the router's sockets)" },
    },
    min: 0,
    max: 0,
    run: async (input) => (await import('./up.ts')).up(input),
  },
  {
    words: ['down'],
    args: '',
    summary: 'stop the router: drain until the last application socket closes, at most 25 s',
    options: { now: { type: 'boolean', help: 'do not drain' } },
    min: 0,
    max: 0,
    run: async (input) => (await import('./up.ts')).down(input),
  },
  {
    words: ['status'],
    args: '',
    summary: 'problems first, then uplinks and BGP peers',
    options: JSON_OPTION,
    min: 0,
    max: 0,
    run: async (input) => (await ask()).status(input),
  },
  {
    words: ['route', 'show'],
    args: '',
    summary: 'the routing table',
    options: {
      ...JSON_OPTION,
      ...VRF_OPTION,
      proto: { type: 'string', value: 'NAME', help: 'only connected, static, bgp, ebgp, ibgp or external' },
    },
    min: 0,
    max: 0,
    isDefault: true,
    run: async (input) => (await ask()).routeShow(input),
  },
  {
    words: ['route', 'get'],
    args: 'DST',
    summary: 'which way a packet to DST goes, and why',
    options: { ...JSON_OPTION, ...VRF_OPTION },
    min: 1,
    max: 1,
    run: async (input) => (await ask()).routeGet(input),
  },
  {
    words: ['bgp', 'show'],
    args: '',
    summary: 'BGP peers',
    options: JSON_OPTION,
    min: 0,
    max: 0,
    isDefault: true,
    run: async (input) => (await ask()).bgpShow(input),
  },
  {
    words: ['bgp', 'peer'],
    args: 'PEER [up|down|refresh|reset]',
    summary: 'one BGP peer in full, or an order to it',
    options: JSON_OPTION,
    min: 1,
    max: 2,
    run: async (input) => (await ask()).bgpPeer(input),
  },
  {
    words: ['bgp', 'routes'],
    args: '[in|out|best] [PEER] [PREFIX]',
    summary: 'BGP routes: chosen (best), as received (in) or as announced (out)',
    options: { ...JSON_OPTION, ...VRF_OPTION },
    min: 0,
    max: 3,
    run: async (input) => (await ask()).bgpRoutes(input),
  },
  {
    words: ['bgp', 'explain'],
    args: 'PREFIX',
    summary: 'why the best route to PREFIX won (RFC 4271 §9.1.2.2)',
    options: { ...JSON_OPTION, ...VRF_OPTION },
    min: 1,
    max: 1,
    run: async (input) => (await ask()).bgpExplain(input),
  },
  {
    words: ['bgp', 'rpki'],
    args: '[refresh]',
    summary: 'where ROAs come from: caches and files, their age and errors; refresh asks them all now',
    options: JSON_OPTION,
    min: 0,
    max: 1,
    run: async (input) => (await ask()).bgpRpki(input),
  },
  {
    words: ['bfd'],
    args: '',
    summary: 'BFD sessions: is each neighbour there, and how fast is it noticed when not',
    options: JSON_OPTION,
    min: 0,
    max: 0,
    run: async (input) => (await ask()).bfdShow(input),
  },
  {
    words: ['wg', 'show'],
    args: '[UPLINK]',
    summary: 'WireGuard devices and peers, in the words of wg(8)',
    options: JSON_OPTION,
    min: 0,
    max: 1,
    isDefault: true,
    run: async (input) => (await ask()).wgShow(input),
  },
  {
    words: ['wg', 'genkey'],
    args: '',
    summary: 'print a new private key',
    options: {},
    min: 0,
    max: 0,
    run: async (input) => (await keys()).genkey(input),
  },
  {
    words: ['wg', 'pubkey'],
    args: '',
    summary: 'print the public key of the private key on standard input',
    options: {},
    min: 0,
    max: 0,
    run: async (input) => (await keys()).pubkey(input),
  },
  {
    words: ['wg', 'genpsk'],
    args: '',
    summary: 'print a new preshared key',
    options: {},
    min: 0,
    max: 0,
    run: async (input) => (await keys()).genpsk(input),
  },
  {
    words: ['capture'],
    args: '',
    summary: 'packets of the uplinks as pcapng, until interrupted',
    options: {
      write: {
        type: 'string',
        short: 'w',
        value: 'FILE',
        help: 'where to; - is standard output (the default in a pipe)',
      },
      uplink: { type: 'string', value: 'UPLINK', help: 'only this one' },
      snaplen: { type: 'string', short: 's', value: 'OCTETS', help: 'octets kept of each packet (default 262144)' },
    },
    min: 0,
    max: 0,
    run: async (input) => (await import('./capture.ts')).captureCommand(input),
  },
  {
    words: ['config', 'check'],
    args: '[FILE]',
    summary: 'say everything that is wrong with the configuration',
    options: { ...CONFIG_OPTION, ...JSON_OPTION },
    min: 0,
    max: 1,
    run: async (input) => (await import('./config.ts')).check(input),
  },
  {
    words: ['config', 'schema'],
    args: '',
    summary: 'print the JSON Schema of mlshim.yaml, for editors',
    options: {},
    min: 0,
    max: 0,
    run: async (input) => (await import('./config.ts')).schema(input),
  },
  {
    words: ['import'],
    args: 'FILE.conf',
    summary: 'print the YAML of a wg-quick file',
    options: { 'show-keys': { type: 'boolean', help: 'with its secret keys instead of names of files for them' } },
    min: 1,
    max: 1,
    run: async (input) => (await import('./config.ts')).importQuick(input),
  },
  {
    words: ['explain'],
    args: 'CODE',
    summary: 'what a code in a message means and what to do',
    options: {},
    min: 1,
    max: 1,
    run: async (input: Input) => (await import('./explain.ts')).explain(input),
  },
];
