import test from 'ava';
import { hasExtended } from '../../../bgp/policy/communities.ts';
import { parseAnyCommunity, parseCommunityMatch, parsePrefixMatch } from '../../../bgp/policy/text.ts';
import {
  bandwidthCommunity,
  bandwidthOf,
  extendedCommunityText,
  parseExtendedCommunity,
} from '../../../bgp/wire/attribute/extended-communities.ts';

test('prefixes are read with their range of lengths', (t) => {
  const read = (text: string): string | undefined => {
    const m = parsePrefixMatch(text);
    return m && `${m.prefix} ${m.minLength} ${m.maxLength}`;
  };
  t.is(read('10.0.0.0/8'), '10.0.0.0/8 undefined undefined');
  t.is(read('10.0.0.0/8+'), '10.0.0.0/8 8 32');
  t.is(read('fd00::/8{44,64}'), 'fd00::/8 44 64');
  for (const wrong of [
    '10.0.0.1/8',
    '10.0.0.0/8{7,9}',
    '10.0.0.0/8{9,8}',
    '10.0.0.0/8{9,33}',
    '10.0.0.0/8{9}',
    '/8+',
  ]) {
    t.is(read(wrong), undefined, wrong);
  }
});

test('extended communities are printed and read again', (t) => {
  for (const text of [
    'rt:64512:7',
    'rt:64512:4294967295',
    'ro:192.0.2.1:7',
    'rt:4242421080:7',
    'bandwidth:64512:125000',
    'generic:0x43000001:0x2',
  ]) {
    t.is(extendedCommunityText(...parseExtendedCommunity(text)!), text);
  }
  for (const wrong of [
    'rt:1',
    'rt:70000:70000',
    'rt:1.2.3:1',
    'xx:1:1',
    'rt:-1:1',
    'bandwidth:70000:1',
    'bandwidth:1:-1',
    'generic:1:0x2',
    'rt:01:1',
  ]) {
    t.is(parseExtendedCommunity(wrong), undefined, wrong);
  }
});

test('a link bandwidth is a float of octets per second', (t) => {
  // 1 Gbit/s as GoBGP and FRR send it: 125,000,000 octets per second.
  t.deepEqual(bandwidthCommunity(65001, 125e6), [0x4004fde9, 0x4cee6b28]);
  t.is(bandwidthOf(0x4004fde9, 0x4cee6b28), 125e6);
  t.is(bandwidthOf(0x0004fde9, 0x4cee6b28), 125e6, 'the transitive form');
  t.is(bandwidthOf(0x0002fde9, 0x4cee6b28), undefined);
  t.is(bandwidthOf(0x4004fde9, 0x7f800000), undefined, 'infinity is no bandwidth');
});

test('communities of all kinds are told apart by their form', (t) => {
  const kind = (text: string): string | undefined => parseAnyCommunity(text)?.kind;
  t.is(kind('64511:5'), 'standard');
  t.is(kind('no-export'), 'standard');
  t.is(kind('1:2:3'), 'large');
  t.is(kind('rt:1:2'), 'extended');
  t.is(kind('64511:*'), undefined, 'a pattern is no community');
});

test('patterns of communities match what they say', (t) => {
  t.deepEqual(parseCommunityMatch('64511:1..9'), { kind: 'standard', match: [64511, { min: 1, max: 9 }] });
  t.deepEqual(parseCommunityMatch('*:*:5')?.kind, 'large');
  const matches = (pattern: string, text: string): boolean => {
    const m = parseCommunityMatch(pattern);
    if (m?.kind !== 'extended') return false;
    return hasExtended(parseExtendedCommunity(text)!, m.match);
  };
  t.true(matches('rt:64512:*', 'rt:64512:9'));
  t.false(matches('rt:64512:*', 'rt:64513:9'));
  t.false(matches('rt:64512:*', 'ro:64512:9'));
  t.true(matches('rt:4242421080:*', 'rt:4242421080:9'));
  t.false(matches('rt:4242421080:*', 'rt:4242421081:9'));
  t.true(matches('rt:*:*', 'rt:4242421080:9'));
  t.true(matches('rt:*:*', 'rt:192.0.2.1:9'));
  t.false(matches('rt:*:*', 'ro:192.0.2.1:9'));
  t.true(matches('bandwidth:*:*', 'bandwidth:1:5'));
  for (const wrong of ['64511', '64511:9..1', '70000:*', '1:2:3:4', 'rt:*:5', 'xx:*:*']) {
    t.is(parseCommunityMatch(wrong), undefined, wrong);
  }
});
