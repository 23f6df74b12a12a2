import { execFileSync } from 'node:child_process';
import test from 'ava';
import fc from 'fast-check';
import * as keys from '../../wg/keys.ts';

test('a public key is the one RFC 7748 §6.1 gives', (t) => {
  const alice = keys.keyFromHex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a')!;
  t.is(keys.keyToHex(keys.publicKey(alice)), '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
});

test('keys survive base64 and hex', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (k) => {
      t.deepEqual(keys.parseKey(keys.formatKey(k)), k);
      t.deepEqual(keys.keyFromHex(keys.keyToHex(k)), k);
    }),
    { seed: 25519 },
  );
});

test('what is not a key is refused', (t) => {
  for (const text of [
    '',
    'x',
    'A'.repeat(44),
    `${'A'.repeat(42)}B=`, // bits beyond the 32nd octet
    `${'A'.repeat(43)}`,
    ` ${'A'.repeat(43)}=`,
  ])
    t.is(keys.parseKey(text), undefined, text);
  t.is(keys.keyFromHex('00'), undefined);
});

test('generated private keys are clamped and agree with wg(8)', (t) => {
  for (let i = 0; i < 20; i++) {
    const k = keys.generatePrivateKey();
    t.is(k[0]! & 7, 0);
    t.is(k[31]! & 0xc0, 0x40);
  }
  const k = keys.generatePrivateKey();
  let reference: string;
  try {
    reference = execFileSync('wg', ['pubkey'], { input: keys.formatKey(k), encoding: 'utf8' }).trim();
  } catch {
    t.log('wg(8) is not installed: not compared');
    return;
  }
  t.is(keys.formatKey(keys.publicKey(k)), reference);
});
