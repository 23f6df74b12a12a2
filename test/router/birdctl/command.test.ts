import test from 'ava';
import { type BirdCommand, Mistake, parseCommand } from '../../../router/birdctl/command.ts';

const ROUTES = { kind: 'routes', all: false, primary: false, filtered: false, count: false, stats: false } as const;

/** A command with its addresses as text. */
function parsed(line: string): unknown {
  const c = parseCommand(line);
  return c instanceof Mistake
    ? c.text
    : Object.fromEntries(Object.entries(c as BirdCommand).map(([k, v]) => [k, isAddress(v) ? String(v) : v]));
}

const isAddress = (v: unknown): boolean => typeof v === 'object' && v !== null && 'family' in v;

test('what looking glasses and exporters send is understood', (t) => {
  t.deepEqual(parsed('restrict'), { kind: 'restrict' });
  t.deepEqual(parsed('show protocols'), { kind: 'protocols', name: 'all', all: false });
  t.deepEqual(parsed('show protocols all AS65000-b'), { kind: 'protocols', name: { name: 'AS65000-b' }, all: true });
  t.deepEqual(parsed('show protocols all "dn42_*"'), { kind: 'protocols', name: { pattern: 'dn42_*' }, all: true });
  t.deepEqual(parsed('show route for 172.20.0.53 all'), { ...ROUTES, for: '172.20.0.53', all: true });
  t.deepEqual(parsed('show route for fd42::/48 primary all'), {
    ...ROUTES,
    for: 'fd42::/48',
    primary: true,
    all: true,
  });
  t.deepEqual(parsed('show route where net ~ [ 172.20.0.0/14+ ] all'), {
    ...ROUTES,
    whereIn: '172.20.0.0/14',
    all: true,
  });
  t.deepEqual(parsed('show route protocol b primary'), { ...ROUTES, protocol: 'b', primary: true });
  t.deepEqual(parsed('show route where bgp_path.last = 4242420001 all'), {
    ...ROUTES,
    lastAs: 4242420001,
    all: true,
  });
  t.deepEqual(parsed('show route table master4 count'), { ...ROUTES, tables: ['master4'], count: true });
});

test('orders carry a name, a direction and a text', (t) => {
  const order = { direction: 'both', text: '' };
  t.deepEqual(parsed('disable b "back at noon"'), {
    ...order,
    kind: 'disable',
    name: { name: 'b' },
    text: 'back at noon',
  });
  t.deepEqual(parsed('reload in all'), { ...order, kind: 'reload', name: 'all', direction: 'in' });
  t.deepEqual(parsed('configure timeout 60'), { kind: 'configure', what: 'load', timeoutS: 60 });
  t.deepEqual(parsed('configure soft'), { kind: 'configure', what: 'load', timeoutS: undefined });
});

test('what is not understood is a mistake in the words of BIRD', (t) => {
  t.is(parsed(''), 'syntax error, unexpected END');
  t.is(parsed('show'), 'syntax error, unexpected END');
  t.is(parsed('show nonsense'), 'syntax error, unexpected CF_SYM_UNDEFINED');
  t.is(parsed('show status now'), 'syntax error, unexpected CF_SYM_UNDEFINED');
  t.is(parsed('show route in 10.0.0.1/8'), 'Invalid IPv4 prefix 10.0.0.1/8, maybe you wanted 10.0.0.0/8');
  t.is(parsed('show protocols "b'), 'Unterminated string');
  t.is(parsed('show route for'), 'syntax error, unexpected END');
});
