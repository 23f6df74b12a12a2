import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { commandHelp, nounHelp, tableHelp } from '../../../router/cli/command.ts';
import { COMMANDS } from '../../../router/cli/commands.ts';
import { reloadText } from '../../../router/cli/reload.ts';
import { rpkiText } from '../../../router/cli/rpki.ts';
import {
  bfdText,
  bgpExplainText,
  bgpPeerLine,
  bgpPeerText,
  bgpTellingText,
  bgpText,
  fpmText,
  RouteRows,
  routeGetText,
  routeText,
  statusText,
  uplinksText,
  vpnRoutesText,
} from '../../../router/cli/show.ts';
import { bgpEventText } from '../../../router/cli/watch.ts';
import {
  BFD,
  BGP,
  BGP_ROUTES,
  BGP_ROUTES_IN,
  BGP_ROUTES_LONG,
  BGP_ROUTES_ROA,
  BGP_VPN,
  EVENTS,
  EXPLANATION,
  EXPLANATION_NONE,
  EXPLANATION_ROA,
  EXPLANATION_RULE,
  EXPLANATION_VRF,
  GOODBYE,
  NOTHING_CHANGED,
  RELOADED,
  ROUTE_ANSWERS,
  ROUTES,
  RPKI,
  STATUS,
  TELLINGS,
} from './samples.ts';

const GOLDEN = join(import.meta.dirname, '../../../../test/router/cli/golden');

const NOUNS = [...new Set(COMMANDS.filter((c) => c.words.length === 2).map((c) => c.words[0]!))];

/** Local times are others elsewhere. */
const noon = (line: string): string => line.replace(/^\d\d:\d\d:\d\d/, '12:00:00');

/** A listing of routes that comes in one part. */
const listing = (routes: Parameters<RouteRows['part']>[0], columns = Infinity): string =>
  new RouteRows(columns).part(routes);

const TEXTS: Readonly<Record<string, string>> = {
  status: statusText(STATUS),
  uplink: uplinksText([
    ...STATUS.uplinks,
    { ...STATUS.uplinks[0]!, name: 'lte', drained: true, usable: false, flows: 3 },
  ]),
  'route-get': ROUTE_ANSWERS.map(routeGetText).join('\n'),
  'route-show': ROUTES.routes.map(routeText).join(''),
  bgp: bgpText(BGP),
  bfd: bfdText(BFD),
  fpm: fpmText(STATUS.fpm!),
  'bgp-peer': BGP.peers.map(bgpPeerText).join('\n'),
  'bgp-routes': listing(BGP_ROUTES.routes),
  'bgp-goodbye': [
    bgpText(GOODBYE),
    ...GOODBYE.peers.map((p) => `${bgpPeerLine(p)}\n`),
    ...GOODBYE.peers.map(bgpPeerText),
  ].join('\n'),
  'bgp-vpn': vpnRoutesText(BGP_VPN.routes),
  'bgp-routes-terminal': listing(BGP_ROUTES_LONG.routes, 80),
  'bgp-watch-terminal': EVENTS.map((e) => noon(bgpEventText(e, 80))).join(''),
  'bgp-routes-in': listing(BGP_ROUTES_IN.routes),
  'bgp-explain-none': bgpExplainText(EXPLANATION_NONE),
  'bgp-routes-roa': listing(BGP_ROUTES_ROA.routes),
  'bgp-rpki': rpkiText(RPKI),
  'bgp-explain': bgpExplainText(EXPLANATION),
  'bgp-watch': EVENTS.map((e) => noon(bgpEventText(e))).join(''),
  'bgp-explain-rule': bgpExplainText(EXPLANATION_RULE),
  'bgp-explain-vrf': bgpExplainText(EXPLANATION_VRF),
  'bgp-explain-to': TELLINGS.map(bgpTellingText).join('\n'),
  'bgp-explain-roa': bgpExplainText(EXPLANATION_ROA),
  reload: [RELOADED, { ...RELOADED, applied: true, reverts_in_s: 60 }, NOTHING_CHANGED].map(reloadText).join('\n'),
  help: tableHelp(COMMANDS),
  'help-nouns': NOUNS.map((noun) => nounHelp(COMMANDS, noun)).join('\n'),
  'help-commands': COMMANDS.map(commandHelp).join('\n'),
};

for (const [name, text] of Object.entries(TEXTS)) {
  test(`${name} prints what its golden text shows`, (t) => {
    const path = join(GOLDEN, `${name}.txt`);
    if (process.env['MLSHIM_UPDATE'] !== undefined) writeFileSync(path, text);
    t.is(text, readFileSync(path, 'utf8'));
  });
}

/** Without a terminal a line for each route or event, however long: scripts cut them up. `bgp-goodbye` shows a line before it is wrapped. */
const ANY_WIDTH: readonly string[] = ['bgp-routes-in', 'bgp-routes-roa', 'bgp-vpn', 'bgp-watch', 'bgp-goodbye'];

test('texts fit 80 columns, but for listings of routes and events', (t) => {
  for (const name of Object.keys(TEXTS).filter((n) => !ANY_WIDTH.includes(n)))
    for (const line of TEXTS[name]!.split('\n')) t.true(line.length <= 80, `${name}: ${line}`);
});

test('help of a noun has a line for each command', (t) => {
  const lines = TEXTS['help-nouns']!.split('\n').filter((l) => l.startsWith('  '));
  t.is(lines.length, COMMANDS.filter((c) => c.words.length === 2).length);
});

test('no line ends in blanks', (t) => {
  for (const text of Object.values(TEXTS)) t.notRegex(text, / \n/);
});
